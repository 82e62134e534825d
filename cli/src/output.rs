//! Standard output and standard error, as people and pipes are used to them.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use anstream::AutoStream;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use terminal_size::Width;

use super::Failure;

/// How to show what a command says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: the documented contract
    Json,
    /// The same as YAML
    Yaml,
}

pub(super) fn write_json(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)?;
    out.flush()
}

pub(super) fn write_yaml(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    serde_yaml::to_writer(&mut *out, report).map_err(io::Error::other)?;
    out.flush()
}

#[allow(clippy::needless_pass_by_value)] // as map_err gives it
pub(super) fn not_written(error: io::Error) -> Failure {
    Failure(format!("standard output: {error}"))
}

/// Standard output. Once nobody reads it any more (`| head`), what is written goes nowhere: that is no error, and the exit
/// code is what it would have been.
pub(super) fn stdout() -> impl Write {
    io::BufWriter::new(Heard { out: AutoStream::auto(io::stdout()), reader_is_gone: false })
}

/// The same for text that people read: on a terminal, lines that are too long go on below.
pub(super) fn text() -> impl Write {
    Fitted { out: stdout(), width: width(), line: Vec::new() }
}

/// How many letters a line has: of the terminal, or else as `COLUMNS` says; `None`: as many as it takes.
pub(super) fn width() -> Option<usize> {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(Width(width), _)| width.into());
    terminal.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok())
}

struct Fitted<W> {
    out: W,
    width: Option<usize>,
    line: Vec<u8>,
}

impl<W: Write> Write for Fitted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(width) = self.width else { return self.out.write(bytes) };
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.out.write_all(fitted(&String::from_utf8_lossy(&line), width).as_bytes())?;
                self.out.write_all(b"\n")?;
            } else {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&std::mem::take(&mut self.line))?;
        self.out.flush()
    }
}

/// A line, broken between words where it is too long; what goes on stands further to the right than where it began.
/// A command (`$ …`) stays whole, to be copied.
fn fitted(line: &str, width: usize) -> String {
    const FURTHER: usize = 4;
    if textwrap::core::display_width(line) <= width || line.trim_start().starts_with("$ ") {
        return line.to_owned();
    }
    let indent = " ".repeat(line.len() - line.trim_start_matches(' ').len() + FURTHER);
    let options = textwrap::Options::new(width).subsequent_indent(&indent).break_words(false);
    textwrap::fill(line, options.word_splitter(textwrap::WordSplitter::NoHyphenation))
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

pub(super) fn print_error(error: &dyn fmt::Display) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    // Where standard error is closed, there is nobody to tell.
    let _ = writeln!(AutoStream::auto(io::stderr()), "{style}error:{style:#} {}", escape_control(error));
}

pub(super) fn note(text: fmt::Arguments<'_>) {
    let style = anstyle::AnsiColor::Yellow.on_default();
    let _ = writeln!(AutoStream::auto(io::stderr()), "{style}note:{style:#} {}", escape_control(text));
}

/// A bar on standard error, or a spinner, that shows up when something takes long.
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// With the number of steps there are, if that is known; `{msg}` in the template is what is being done.
    pub(super) fn new(doing: String, steps: Option<u64>, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(steps, ProgressDrawTarget::hidden());
        Self { bar: bar.with_style(style).with_message(doing), begun: Instant::now() }
    }

    pub(super) fn advance(&self, steps: u64) {
        const PATIENCE: Duration = Duration::from_millis(500);
        self.bar.inc(steps);
        if self.bar.is_hidden() && io::stderr().is_terminal() && self.begun.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What the input says, with control characters as escapes, so that no terminal obeys them.
pub(super) fn escape_control(text: impl fmt::Display) -> String {
    let mut escape_control = String::new();
    for c in text.to_string().chars() {
        if c.is_control() { escape_control.extend(c.escape_default()) } else { escape_control.push(c) }
    }
    escape_control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_below_and_further_right() {
        assert_eq!(fitted("  short", 10), "  short");
        assert_eq!(
            fitted("  + create  node-1  because it is so", 20),
            "  + create  node-1\n      because it is\n      so"
        );
        assert_eq!(fitted("  $ kubectl get nodes", 10), "  $ kubectl get nodes");
        assert_eq!(fitted("a-very-long-name-that-does-not-fit b", 10), "a-very-long-name-that-does-not-fit\n    b");
        assert_eq!(
            fitted("\u{1b}[1mbold\u{1b}[0m and so", 11),
            "\u{1b}[1mbold\u{1b}[0m and so",
            "colours take no place"
        );
    }

    #[test]
    fn lines_are_fitted_whatever_the_pieces_in_which_they_come() {
        let mut fitted = Fitted { out: Vec::new(), width: Some(8), line: Vec::new() };
        for piece in ["one t", "wo three\nfo", "ur"] {
            fitted.write_all(piece.as_bytes()).unwrap();
        }
        fitted.flush().unwrap();
        assert_eq!(String::from_utf8(fitted.out).unwrap(), "one two\n    three\nfour");
        let mut unfitted = Fitted { out: Vec::new(), width: None, line: Vec::new() };
        unfitted.write_all(b"one two three\n").unwrap();
        assert_eq!(unfitted.out, b"one two three\n");
    }
}
