//! Standard output and standard error: formats, colours, line width, pipes and progress.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use anstream::AutoStream;
use clap::ValueEnum;
use daemonplan::{manifest, model::DaemonSet};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use terminal_size::Width;

use super::Failure;

/// The output format of most commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs, in a documented format
    Json,
    /// The JSON report as YAML
    Yaml,
}

pub(super) fn write_json(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)?;
    out.flush()
}

pub(super) fn write_yaml(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    manifest::write_yaml(&mut *out, report)?;
    out.flush()
}

#[allow(clippy::needless_pass_by_value)] // map_err passes it by value
pub(super) fn write_error(error: io::Error) -> Failure {
    Failure(format!("cannot write to standard output: {error}"))
}

/// Returns standard output, for programs. Once the reader has closed the pipe (`| head`), output is discarded: that is no
/// error, and the exit code does not change.
pub(super) fn stdout() -> impl Write {
    io::BufWriter::new(PipeWriter { out: io::stdout(), is_closed: false })
}

/// Returns standard output for tables, with colours if they are wanted.
pub(super) fn styled() -> impl Write {
    io::BufWriter::new(PipeWriter { out: AutoStream::auto(io::stdout()), is_closed: false })
}

/// Returns standard output for text. Lines that are wider than the terminal are wrapped.
pub(super) fn text() -> impl Write {
    WrappingWriter { out: styled(), width: width(), line: Vec::new() }
}

/// Returns the maximum width of a line: that of the terminal, or else the variable `COLUMNS`; `None` if unlimited.
pub(super) fn width() -> Option<usize> {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(Width(width), _)| width.into());
    terminal.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok())
}

struct WrappingWriter<W> {
    out: W,
    width: Option<usize>,
    line: Vec<u8>,
}

impl<W: Write> Write for WrappingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(width) = self.width else { return self.out.write(bytes) };
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.out.write_all(wrap(&String::from_utf8_lossy(&line), width).as_bytes())?;
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

/// Wraps a line between words, and indents its continuations further. A command (`$ …`) is not wrapped, so that it can
/// be copied.
fn wrap(line: &str, width: usize) -> String {
    const EXTRA_INDENT: usize = 4;
    if textwrap::core::display_width(line) <= width || line.trim_start().starts_with("$ ") {
        return line.to_owned();
    }
    let indent = " ".repeat(line.len() - line.trim_start_matches(' ').len() + EXTRA_INDENT);
    let options = textwrap::Options::new(width).subsequent_indent(&indent).break_words(false);
    textwrap::fill(line, options.word_splitter(textwrap::WordSplitter::NoHyphenation))
}

/// A writer that discards its input once the pipe is closed.
struct PipeWriter<W> {
    out: W,
    is_closed: bool,
}

impl<W: Write> PipeWriter<W> {
    fn ignore_broken_pipe<T>(&mut self, result: io::Result<T>, discarded: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(discarded)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for PipeWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = if self.is_closed { Ok(bytes.len()) } else { self.out.write(bytes) };
        self.ignore_broken_pipe(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.ignore_broken_pipe(result, ())
    }
}

pub(super) fn print_error(error: &dyn fmt::Display) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    // A closed standard error is ignored.
    let _ = writeln!(AutoStream::auto(io::stderr()), "{style}error:{style:#} {}", escape_control(error));
}

/// Returns a DaemonSet's namespace and name, without control characters.
pub(super) fn daemonset_name(daemonset: &DaemonSet) -> String {
    escape_control(format_args!("{}/{}", daemonset.namespace, daemonset.name))
}

/// Lists amounts of resources, without control characters.
pub(super) fn amounts(all: impl Iterator<Item = (impl fmt::Display, impl fmt::Display)>) -> String {
    let all: Vec<_> = all.map(|(resource, amount)| format!("{resource} {amount}")).collect();
    escape_control(all.join(", "))
}

pub(super) fn note(text: fmt::Arguments<'_>) {
    let style = anstyle::AnsiColor::Yellow.on_default();
    let _ = writeln!(AutoStream::auto(io::stderr()), "{style}note:{style:#} {}", escape_control(text));
}

/// A progress bar or a spinner on standard error. It appears only after a delay.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// Creates a bar for a number of `steps`, if known. The template shows `message` as `{msg}`.
    pub(super) fn new(message: String, steps: Option<u64>, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(steps, ProgressDrawTarget::hidden());
        Self { bar: bar.with_style(style).with_message(message), started: Instant::now() }
    }

    pub(super) fn advance(&self, steps: u64) {
        const DELAY: Duration = Duration::from_millis(500);
        self.bar.inc(steps);
        if self.bar.is_hidden() && io::stderr().is_terminal() && self.started.elapsed() > DELAY {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Escapes control characters, so that text of the input cannot control the terminal.
pub(super) fn escape_control(text: impl fmt::Display) -> String {
    let mut escaped = String::new();
    for c in text.to_string().chars() {
        if c.is_control() { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_and_indented_further() {
        assert_eq!(wrap("  short", 10), "  short");
        assert_eq!(
            wrap("  + create  node-1  because it is so", 20),
            "  + create  node-1\n      because it is\n      so"
        );
        assert_eq!(wrap("  $ kubectl get nodes", 10), "  $ kubectl get nodes");
        assert_eq!(wrap("a-very-long-name-that-does-not-fit b", 10), "a-very-long-name-that-does-not-fit\n    b");
        assert_eq!(wrap("\u{1b}[1mbold\u{1b}[0m and so", 11), "\u{1b}[1mbold\u{1b}[0m and so", "colours have no width");
    }

    #[test]
    fn lines_are_wrapped_however_the_writes_split_them() {
        let mut wrapped = WrappingWriter { out: Vec::new(), width: Some(8), line: Vec::new() };
        for piece in ["one t", "wo three\nfo", "ur"] {
            wrapped.write_all(piece.as_bytes()).unwrap();
        }
        wrapped.flush().unwrap();
        assert_eq!(String::from_utf8(wrapped.out).unwrap(), "one two\n    three\nfour");
        let mut unlimited = WrappingWriter { out: Vec::new(), width: None, line: Vec::new() };
        unlimited.write_all(b"one two three\n").unwrap();
        assert_eq!(unlimited.out, b"one two three\n");
    }
}
