//! Reads manifests from files, from directories, from standard input, and from the cluster with kubectl.

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
};

use daemonplan::manifest::Manifests;
use flate2::bufread::MultiGzDecoder;

use super::{
    Failure,
    output::{Progress, note, print_error},
    style::plural,
};

const STDIN: &str = "standard input";

/// Reads files, the manifests of directories, and standard input (`-`) into `manifests`. A file that cannot be read is
/// an error that is printed; the others are read all the same. Returns whether all could be read.
pub(super) fn read(manifests: &mut Manifests, names: &[PathBuf], is_recursive: bool) -> Result<bool, Failure> {
    let mut files = Vec::new();
    for name in names {
        if name.is_dir() {
            let before = files.len();
            add_manifests_in(name, is_recursive, &mut files).map_err(|error| failure(name, &error))?;
            if files.len() == before {
                let hint = if is_recursive { "" } else { "; -R also looks into the directories in it" };
                let name = name.display();
                return Err(Failure(format!("{name}: no .yaml, .yml or .json file in this directory{hint}")));
            }
        } else {
            if name.as_os_str() != "-" {
                File::open(name).map_err(|error| failure(name, &error))?;
            }
            files.push(name.clone());
        }
    }
    let documents = manifests.documents();
    let mut all_were_read = true;
    for file in &files {
        let result = if file.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                note(format_args!("reading manifests from standard input"));
            }
            read_one(manifests, STDIN, io::stdin().lock(), None)
        } else {
            read_file(manifests, file)
        };
        if let Err(error) = result {
            print_error(&failure(file, &error));
            all_were_read = false;
        }
    }
    if manifests.documents() == documents && all_were_read {
        let shown =
            |name: &PathBuf| if name.as_os_str() == "-" { STDIN.to_owned() } else { name.display().to_string() };
        let names = names.iter().map(shown).collect::<Vec<_>>().join(", ");
        return Err(Failure(format!(
            "the input is empty ({names}): expected manifests, such as those of kubectl get … -o json"
        )));
    }
    Ok(all_were_read)
}

/// Says what is unexpected in the manifests, and what could not be read.
pub(super) fn print_problems(manifests: &Manifests) {
    if manifests.replaced() > 0 {
        let objects = plural(manifests.replaced(), "object");
        note(format_args!("{objects} given more than once; the last of each is used"));
    }
    for warning in manifests.warnings() {
        note(format_args!("{warning}"));
    }
    for problem in manifests.problems() {
        print_error(problem);
    }
}

/// Adds the manifests of a directory, in the order of their names.
fn add_manifests_in(directory: &Path, is_recursive: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let is_manifest = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.strip_suffix(".gz").unwrap_or(name);
        [".yaml", ".yml", ".json"].iter().any(|extension| name.ends_with(extension))
    };
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<_> = entries.collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            // A link to a directory above would have no end.
            if is_recursive && !path.is_symlink() {
                add_manifests_in(&path, true, files)?;
            }
        } else if is_manifest(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(manifests: &mut Manifests, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let length = file.metadata().ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
    read_one(manifests, &path.display().to_string(), file, length)
}

/// Reads a text, which may be compressed with gzip.
pub(super) fn read_one(manifests: &mut Manifests, name: &str, text: impl Read, length: Option<u64>) -> io::Result<()> {
    const GZIP: &[u8] = b"\x1f\x8b";
    let template = match length {
        Some(_) => "{msg}  {bar:30}  {bytes} of {total_bytes}  {bytes_per_sec}",
        None => "{msg}  {spinner}  {bytes}  {bytes_per_sec}",
    };
    let progress = Progress::new(format!("reading {name}"), length, template);
    let mut text = BufReader::with_capacity(1 << 18, ProgressReader { text, progress });
    match text.fill_buf()? {
        start if start.starts_with(GZIP) => manifests.read(name, MultiGzDecoder::new(text)),
        [0xff, 0xfe, ..] => manifests.read(name, from_utf16(text, u16::from_le_bytes)?.as_bytes()),
        [0xfe, 0xff, ..] => manifests.read(name, from_utf16(text, u16::from_be_bytes)?.as_bytes()),
        _ => manifests.read(name, text),
    }
}

/// Reads UTF-16 with a byte order mark, as PowerShell writes it and kubectl reads it.
fn from_utf16(mut text: impl Read, unit: fn([u8; 2]) -> u16) -> io::Result<String> {
    let mut bytes = Vec::new();
    text.read_to_end(&mut bytes)?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(io::Error::other("invalid UTF-16: half a character at the end"));
    }
    let units = pairs.iter().skip(1).map(|pair| unit(*pair));
    char::decode_utf16(units)
        .collect::<Result<_, _>>()
        .map_err(|error| io::Error::other(format!("invalid UTF-16: {error}")))
}

/// A reader that advances a progress bar.
struct ProgressReader<R> {
    text: R,
    progress: Progress,
}

impl<R: Read> Read for ProgressReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.text.read(buffer)?;
        self.progress.advance(u64::try_from(length).unwrap_or_default());
        Ok(length)
    }
}

fn failure(path: &Path, error: &dyn fmt::Display) -> Failure {
    Failure(format!("{}: {error}", path.display()))
}
