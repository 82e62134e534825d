use std::{
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use daemonplan::manifest::Manifests;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Failure,
    output::{is_watched, note},
};

/// Reads all files, all manifests of all folders, and standard input.
pub(super) fn read(names: &[PathBuf]) -> Result<Manifests, Failure> {
    let mut manifests = Manifests::default();
    for name in names {
        if name.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                note(format_args!("reading manifests from standard input"));
            }
            read_one(&mut manifests, "standard input", io::stdin().lock(), None)?;
        } else if name.is_dir() {
            let files = manifests_in(name).map_err(|error| failure(name, &error))?;
            if files.is_empty() {
                return Err(Failure(format!("{}: no .yaml, .yml or .json file in this folder", name.display())));
            }
            for file in files {
                read_file(&mut manifests, &file)?;
            }
        } else {
            read_file(&mut manifests, name)?;
        }
    }
    if manifests.documents() == 0 {
        return Err(Failure("the input is empty: expected manifests, such as kubectl get … -o json prints".into()));
    }
    Ok(manifests)
}

fn manifests_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_manifest = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && matches!(extension, Some("yaml" | "yml" | "json"))
    };
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<_> = entries.collect::<io::Result<_>>()?;
    files.retain(is_manifest);
    files.sort();
    Ok(files)
}

fn read_file(manifests: &mut Manifests, path: &Path) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| failure(path, &error))?;
    let length = file.metadata().ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
    read_one(manifests, &path.display().to_string(), file, length)
}

fn read_one(manifests: &mut Manifests, name: &str, text: impl Read, length: Option<u64>) -> Result<(), Failure> {
    let mut watched = Watched { text, bar: progress(name, length), begun: Instant::now() };
    let result = manifests.read(name, &mut watched);
    watched.bar.finish_and_clear();
    result.map_err(|error| failure(Path::new(name), &error))
}

/// What is being read, with a bar that shows up when it takes long.
struct Watched<R> {
    text: R,
    bar: ProgressBar,
    begun: Instant,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const PATIENCE: Duration = Duration::from_millis(500);
        let length = self.text.read(buffer)?;
        self.bar.inc(u64::try_from(length).unwrap_or_default());
        if self.bar.is_hidden() && is_watched() && self.begun.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Ok(length)
    }
}

fn progress(name: &str, length: Option<u64>) -> ProgressBar {
    let template = match length {
        Some(_) => "{msg}  {bar:30}  {bytes} of {total_bytes}  {bytes_per_sec}",
        None => "{msg}  {spinner}  {bytes}  {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
    bar.with_style(style).with_message(format!("reading {name}"))
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure(format!("{}: {error}", path.display()))
}
