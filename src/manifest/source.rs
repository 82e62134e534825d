use std::io::{self, BufRead, Read};

use memchr::{memchr_iter, memrchr};
use serde::de::{DeserializeOwned, IgnoredAny};

/// A text that is read in large pieces, and knows where the reader is.
pub(super) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
    /// Whether the buffer holds all that is left.
    ended: bool,
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

/// Why a text cannot be read on.
pub(super) enum Fault {
    Io(io::Error),
    /// It is no JSON.
    Malformed(Position, String),
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), taken: 0, ended: false, position: Position { line: 1, column: 0 } }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// What is in memory of the text that has not been taken.
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    /// Brings at least as much again into memory, or all that is left; whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        const LEAST: usize = 1 << 18;
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let (before, wanted) = (self.buffer.len(), self.buffer.len().max(LEAST));
        let most = u64::try_from(wanted).unwrap_or(u64::MAX);
        self.reader.by_ref().take(most).read_to_end(&mut self.buffer)?;
        let read = self.buffer.len() - before;
        self.ended = read < wanted;
        Ok(read > 0)
    }

    /// How far it is to the next character that is not white space. Only white space before its line may be taken.
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

    /// The next character that is not white space. Neither it nor the indentation before it is taken.
    pub(super) fn next_visible(&mut self) -> io::Result<Option<u8>> {
        let length = self.indentation()?;
        Ok(length.and_then(|length| self.rest().get(length).copied()))
    }

    /// The next character that is not white space. What stands before it is taken.
    fn next_token(&mut self) -> io::Result<Option<u8>> {
        let length = self.indentation()?.unwrap_or_default();
        self.consume(length);
        Ok(self.rest().first().copied())
    }

    /// Takes this character.
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
        let place = self.position.after(found.as_slice());
        let found = found.map_or("the end of the text".to_owned(), |byte| format!("{:?}", char::from(byte)));
        Fault::Malformed(place, format!("expected {expected}, found {found}"))
    }

    /// Looks at the JSON value that comes next, as far as `look` needs it. Nothing but white space is taken.
    pub(super) fn look<T>(
        &mut self,
        look: impl Fn(&[u8]) -> serde_json::Result<T>,
    ) -> io::Result<serde_json::Result<T>> {
        self.next_token()?;
        loop {
            match look(self.rest()) {
                Err(error) if error.is_eof() && self.fill()? => {}
                result => return Ok(result),
            }
        }
    }

    /// The JSON value that comes next, with its length. Nothing but white space is taken.
    fn parse<T: DeserializeOwned>(&mut self) -> io::Result<serde_json::Result<(T, usize)>> {
        self.next_token()?;
        loop {
            let mut values = serde_json::Deserializer::from_slice(self.rest()).into_iter();
            let value = values.next().unwrap_or_else(|| serde_json::from_slice(b""));
            let length = values.byte_offset();
            let is_cut_off = match &value {
                // More digits may follow.
                Ok(_) => length == self.rest().len(),
                Err(error) => error.is_eof(),
            };
            if !(is_cut_off && self.fill()?) {
                return Ok(value.map(|value| (value, length)));
            }
        }
    }

    /// Takes the JSON value that comes next, if it is one of the type.
    pub(super) fn value<T: DeserializeOwned>(&mut self) -> io::Result<serde_json::Result<T>> {
        Ok(self.parse()?.map(|(value, length)| {
            self.consume(length);
            value
        }))
    }

    /// The text of the JSON value that comes next.
    pub(super) fn raw_value(&mut self) -> Result<&[u8], Fault> {
        match self.parse::<IgnoredAny>()? {
            Ok((_, length)) => Ok(self.rest().get(..length).unwrap_or_default()),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    /// Takes the JSON value that comes next.
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        let length = self.raw_value()?.len();
        self.consume(length);
        Ok(())
    }

    /// Takes a JSON array, each item by `item`.
    pub(super) fn array(&mut self, item: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.take_token(b'[', "'['")?;
        self.separated(b']', "',' or ']'", item)
    }

    /// Takes a JSON object, each value, with its key, by `value`.
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

    /// Takes what stands between commas, and the `end`.
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

    /// What is wrong with the value that comes next.
    pub(super) fn malformed(&self, error: &serde_json::Error) -> Fault {
        let place = Position { line: error.line(), column: error.column() };
        Fault::Malformed(place.from(self.position), error.to_string())
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
        self.taken += length;
    }
}

impl Position {
    /// The place behind these bytes.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        match memrchr(b'\n', bytes) {
            Some(last) => Self { line: self.line + memchr_iter(b'\n', bytes).count(), column: bytes.len() - last - 1 },
            None => Self { line: self.line, column: self.column + bytes.len() },
        }
    }

    /// This place, if it is counted from another one.
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
