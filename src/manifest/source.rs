use std::io::{self, BufRead, BufReader, Read};

/// A text that knows where the reader is.
pub(super) struct Source<R> {
    reader: BufReader<R>,
    position: Position,
}

/// A place between two bytes of a text.
#[derive(Clone, Copy)]
pub(super) struct Position {
    /// The line, counted from 1.
    pub(super) line: usize,
    /// How many of its bytes are before this place.
    pub(super) column: usize,
}

impl<R: Read> Source<R> {
    pub(super) fn new(text: R) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, text), position: Position { line: 1, column: 0 } }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The next character that is not white space. Neither it nor the indentation before it is taken.
    pub(super) fn next_visible(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = self.fill_buf()?;
            let next = buffer.iter().copied().find(|byte| !byte.is_ascii_whitespace());
            match buffer.len() {
                length if length > 0 && next.is_none() => self.consume(length),
                _ => return Ok(next),
            }
        }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.position.pass(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.position.pass(self.reader.buffer().get(..length).unwrap_or_default());
        self.reader.consume(length);
    }
}

impl Position {
    fn pass(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            if part.ends_with(b"\n") {
                (self.line, self.column) = (self.line + 1, 0);
            } else {
                self.column += part.len();
            }
        }
    }

    /// This place, if it is counted from another one.
    pub(super) fn from(self, start: Self) -> Self {
        let column = if self.line == 1 { start.column + self.column } else { self.column };
        Self { line: start.line + self.line.saturating_sub(1), column }
    }
}
