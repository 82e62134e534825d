//! Reads manifests from files, from directories, from standard input, and from the cluster with kubectl.

use std::{
    fmt,
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use daemonplan::manifest::Manifests;

use super::{
    Failure,
    output::{Progress, note},
};

/// Reads files, the manifests of directories, and standard input (`-`).
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
                return Err(Failure(format!("{}: no .yaml, .yml or .json file in this directory", name.display())));
            }
            for file in files {
                read_file(&mut manifests, &file)?;
            }
        } else {
            read_file(&mut manifests, name)?;
        }
    }
    if manifests.documents() == 0 {
        return Err(Failure("the input is empty: expected manifests, such as those of kubectl get … -o json".into()));
    }
    Ok(manifests)
}

/// Reads the objects of one namespace, or of all namespaces, with kubectl.
pub(super) fn read_cluster(context: Option<&str>, namespace: Option<&str>) -> Result<Manifests, Failure> {
    let mut manifests = Manifests::default();
    let context: Vec<_> = context.iter().flat_map(|context| ["--context", *context]).collect();
    let (kinds, scope) = match namespace {
        None => ("daemonsets,nodes,pods,namespaces,controllerrevisions", vec!["--all-namespaces"]),
        Some(namespace) => {
            run_kubectl(&mut manifests, &[&context[..], &["nodes"]].concat())?;
            run_kubectl(&mut manifests, &[&context[..], &["namespace", namespace]].concat())?;
            ("daemonsets,pods,controllerrevisions", vec!["--namespace", namespace])
        }
    };
    run_kubectl(&mut manifests, &[&context[..], &[kinds], &scope].concat())?;
    Ok(manifests)
}

fn run_kubectl(manifests: &mut Manifests, args: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("kubectl");
    command.arg("get").args(args).args(["--output", "json"]).stdout(Stdio::piped());
    let shown = format!("kubectl get {} --output json", args.join(" "));
    note(format_args!("running {shown}"));
    let fail = |error: &dyn fmt::Display| Failure(format!("{shown}: {error}; use -f to read files"));
    let mut child = command.spawn().map_err(|error| fail(&error))?;
    if let Some(output) = child.stdout.take() {
        read_one(manifests, "kubectl", output, None)?;
    }
    let status = child.wait().map_err(|error| fail(&error))?;
    if status.success() { Ok(()) } else { Err(fail(&status)) }
}

fn manifests_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let is_manifest = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && matches!(extension, Some("yaml" | "yml" | "json"))
    };
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
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
    let template = match length {
        Some(_) => "{msg}  {bar:30}  {bytes} of {total_bytes}  {bytes_per_sec}",
        None => "{msg}  {spinner}  {bytes}  {bytes_per_sec}",
    };
    let progress = Progress::new(format!("reading {name}"), length, template);
    manifests.read(name, ProgressReader { text, progress }).map_err(|error| failure(Path::new(name), &error))
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

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure(format!("{}: {error}", path.display()))
}
