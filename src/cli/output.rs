//! Standard output and standard error, as people and pipes are used to them.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use anstream::AutoStream;

/// Standard output. Once nobody reads it any more (`| head`), what is written goes nowhere: that is no error, and the exit
/// code is what it would have been.
pub(super) fn stdout() -> impl Write {
    io::BufWriter::new(Heard { out: AutoStream::auto(io::stdout()), reader_is_gone: false })
}

struct Heard<W> {
    out: W,
    reader_is_gone: bool,
}

impl<W: Write> Heard<W> {
    fn unless_gone<T>(&mut self, result: io::Result<T>, nothing: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_is_gone = true;
                Ok(nothing)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Heard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = if self.reader_is_gone { Ok(bytes.len()) } else { self.out.write(bytes) };
        self.unless_gone(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.unless_gone(result, ())
    }
}

pub(super) fn complain(error: &dyn fmt::Display) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    // Where standard error is closed, there is nobody to tell.
    let _ = writeln!(AutoStream::auto(io::stderr()), "{style}error:{style:#} {}", tame(error));
}

pub(super) fn note(text: fmt::Arguments<'_>) {
    let style = anstyle::AnsiColor::Yellow.on_default();
    let _ = writeln!(AutoStream::auto(io::stderr()), "{style}note:{style:#} {}", tame(text));
}

pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// What the input says, with control characters as escapes, so that no terminal obeys them.
pub(super) fn tame(text: impl fmt::Display) -> String {
    let mut tame = String::new();
    for c in text.to_string().chars() {
        if c.is_control() { tame.extend(c.escape_default()) } else { tame.push(c) }
    }
    tame
}
