use std::io::{self, BufRead, Read};

use memchr::{memchr_iter, memrchr};
use serde::de::{DeserializeOwned, IgnoredAny};

/// A buffered text with the current position.
pub(super) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The number of bytes of the buffer that are consumed.
    consumed: usize,
    /// Whether the reader is exhausted.
    ended: bool,
    position: Position,
}

/// A position between two bytes of a text.
#[derive(Clone, Copy)]
pub(super) struct Position {
    /// The line, from 1.
    pub(super) line: usize,
    /// The number of bytes of the line before this position.
    pub(super) column: usize,
}

/// The error that ends reading a text.
pub(super) enum Fault {
    Io(io::Error),
    /// The text is not valid JSON.
    Malformed(Position, String),
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), consumed: 0, ended: false, position: Position { line: 1, column: 0 } }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Returns the buffered text that is not consumed.
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or_default()
    }

    /// Doubles the buffered text, or reads all that remains. Returns whether any text was read.
    fn fill(&mut self) -> io::Result<bool> {
        const MIN_READ: usize = 1 << 18;
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let (before, wanted) = (self.buffer.len(), self.buffer.len().max(MIN_READ));
        let limit = u64::try_from(wanted).unwrap_or(u64::MAX);
        self.reader.by_ref().take(limit).read_to_end(&mut self.buffer)?;
        let read = self.buffer.len() - before;
        self.ended = read < wanted;
        Ok(read > 0)
    }

    /// Returns the distance to the next character that is not white space. Consumes at most the lines before it.
    fn indentation(&mut self) -> io::Result<Option<usize>> {
        loop {
            match self.rest().iter().position(|byte| !byte.is_ascii_whitespace()) {
                Some(length) => return Ok(Some(length)),
                None => self.consume(memrchr(b'\n', self.rest()).map_or(0, |last| last + 1)),
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Whether a JSON object is next: a brace, and another brace or the quote of a key. What else starts with a brace is
    /// YAML in flow style, or a template. Consumes at most the lines before it.
    pub(super) fn is_at_json_object(&mut self) -> io::Result<bool> {
        self.indentation()?;
        loop {
            let mut visible = self.rest().iter().copied().filter(|byte| !byte.is_ascii_whitespace());
            match (visible.next(), visible.next()) {
                (Some(b'{'), Some(second)) => return Ok(second == b'"' || second == b'}'),
                (Some(b'{'), None) if self.fill()? => {}
                (first, _) => return Ok(first == Some(b'{')),
            }
        }
    }

    /// Returns the next character that is not white space. Consumes the white space before it.
    fn next_token(&mut self) -> io::Result<Option<u8>> {
        let length = self.indentation()?.unwrap_or_default();
        self.consume(length);
        Ok(self.rest().first().copied())
    }

    /// Consumes the character `token`, or fails.
    fn take_token(&mut self, token: u8, expected: &str) -> Result<(), Fault> {
        match self.next_token()? {
            Some(found) if found == token => {
                self.consume(1);
                Ok(())
            }
            found => Err(self.unexpected(found, expected)),
        }
    }

    fn unexpected(&self, found: Option<u8>, expected: &str) -> Fault {
        let position = self.position.after(found.as_slice());
        let found = found.map_or("the end of the text".to_owned(), |byte| format!("{:?}", char::from(byte)));
        Fault::Malformed(position, format!("expected {expected}, found {found}"))
    }

    /// Calls `peek` with the next JSON value, or as much of it as `peek` needs. Consumes only white space.
    pub(super) fn peek_value<T>(
        &mut self,
        peek: impl Fn(&[u8]) -> serde_json::Result<T>,
    ) -> io::Result<serde_json::Result<T>> {
        self.next_token()?;
        loop {
            match peek(self.rest()) {
                Err(error) if error.is_eof() && self.fill()? => {}
                result => return Ok(result),
            }
        }
    }

    /// Returns the next JSON value with its length. Consumes only white space.
    fn parse<T: DeserializeOwned>(&mut self) -> io::Result<serde_json::Result<(T, usize)>> {
        self.next_token()?;
        loop {
            let mut values = serde_json::Deserializer::from_slice(self.rest()).into_iter();
            let value = values.next().unwrap_or_else(|| serde_json::from_slice(b""));
            let length = values.byte_offset();
            let may_continue = match &value {
                // A number may have more digits.
                Ok(_) => length == self.rest().len(),
                Err(error) => error.is_eof(),
            };
            if !(may_continue && self.fill()?) {
                return Ok(value.map(|value| (value, length)));
            }
        }
    }

    /// Consumes and returns the next JSON value if it has the type `T`.
    pub(super) fn value<T: DeserializeOwned>(&mut self) -> io::Result<serde_json::Result<T>> {
        Ok(self.parse()?.map(|(value, length)| {
            self.consume(length);
            value
        }))
    }

    /// Consumes and returns the next JSON value if it has the type `T`, with its text.
    pub(super) fn value_and_text<T: DeserializeOwned>(&mut self) -> io::Result<serde_json::Result<(T, &[u8])>> {
        let (value, length) = match self.parse()? {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(error)),
        };
        self.consume(length);
        let text = self.buffer.get(self.consumed - length..self.consumed).unwrap_or_default();
        Ok(Ok((value, text)))
    }

    /// Returns the text of the next JSON value.
    pub(super) fn raw_value(&mut self) -> Result<&[u8], Fault> {
        match self.parse::<IgnoredAny>()? {
            Ok((_, length)) => Ok(self.rest().get(..length).unwrap_or_default()),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    /// Consumes the next JSON value.
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        let length = self.raw_value()?.len();
        self.consume(length);
        Ok(())
    }

    /// Consumes a JSON array; `item` consumes each item.
    pub(super) fn array(&mut self, item: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.take_token(b'[', "'['")?;
        self.separated(b']', "',' or ']'", item)
    }

    /// Consumes a JSON object; `value` consumes each value and receives its key.
    pub(super) fn object(&mut self, mut value: impl FnMut(&mut Self, &str) -> Result<(), Fault>) -> Result<(), Fault> {
        self.take_token(b'{', "'{'")?;
        self.separated(b'}', "',' or '}'", |text| match text.value::<String>()? {
            Ok(key) => {
                text.take_token(b':', "':'")?;
                value(text, &key)
            }
            Err(error) => Err(text.malformed(&error)),
        })
    }

    /// Consumes parts that are separated by commas, and the character `end`.
    fn separated(
        &mut self,
        end: u8,
        expected: &str,
        mut part: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut next = self.next_token()?;
        while next != Some(end) {
            part(self)?;
            next = self.next_token()?;
            match next {
                Some(b',') => self.consume(1),
                Some(found) if found == end => {}
                found => return Err(self.unexpected(found, expected)),
            }
        }
        self.consume(1);
        Ok(())
    }

    /// Returns the fault for a parse error of the next value.
    pub(super) fn malformed(&self, error: &serde_json::Error) -> Fault {
        let position = Position { line: error.line(), column: error.column() };
        Fault::Malformed(position.from(self.position), error.to_string())
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() {
            self.fill()?;
        }
        Ok(self.rest())
    }

    fn consume(&mut self, length: usize) {
        let position = self.position.after(self.rest().get(..length).unwrap_or_default());
        self.position = position;
        self.consumed += length;
    }
}

impl Position {
    /// Returns the position after these bytes.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        match memrchr(b'\n', bytes) {
            Some(last) => Self { line: self.line + memchr_iter(b'\n', bytes).count(), column: bytes.len() - last - 1 },
            None => Self { line: self.line, column: self.column + bytes.len() },
        }
    }

    /// Converts this position, which is relative to `start`, to an absolute one.
    pub(super) fn from(self, start: Self) -> Self {
        let column = if self.line == 1 { start.column + self.column } else { self.column };
        Self { line: start.line + self.line.saturating_sub(1), column }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
