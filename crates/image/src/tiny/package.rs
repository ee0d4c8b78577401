//! Debian packages: which ones, in which versions, and their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use anyhow::{Context, bail};

use crate::program::run;

/// The package that depends on the newest kernel for clouds.
const KERNEL_METAPACKAGE: &str = "linux-image-cloud-amd64";
/// The package with the SSH server; everything it depends on comes along.
const SSH_SERVER: &str = "dropbear-bin";
/// Packages that are needed without what they depend on: busybox is static, the others run on the building machine.
const ALONE: [&str; 3] = ["busybox-static", "syslinux", "mtools"];

/// The packages of an image, in the versions that apt would install.
pub struct Packages {
    kernel: String,
    names: BTreeSet<String>,
    /// A line per package with its file name and SHA-256, as apt prints it.
    uris: String,
}

/// The packages' files, unpacked into one folder.
pub struct Tree {
    root: PathBuf,
}

impl Packages {
    /// Asks apt; nothing is downloaded.
    pub fn resolve(work_dir: &Path) -> anyhow::Result<Self> {
        let architecture = run(Command::new("dpkg").arg("--print-architecture"))?;
        if architecture.trim() != "amd64" {
            bail!("the tiny image is built on amd64, this machine is {}", architecture.trim());
        }
        let graph = Graph::parse(
            &run(Command::new("apt-cache")
                .args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks"])
                .args(["--no-replaces", "--no-enhances", KERNEL_METAPACKAGE, SSH_SERVER]))
            .context("apt knows no package for the tiny image; `apt-get update` fetches its lists")?,
        );
        let kernel = graph
            .of(KERNEL_METAPACKAGE)
            .find(|name| name.starts_with("linux-image-"))
            .with_context(|| format!("{KERNEL_METAPACKAGE} depends on no kernel"))?
            .to_owned();
        let names: BTreeSet<String> = graph
            .closure(SSH_SERVER)
            .into_iter()
            .map(str::to_owned)
            .chain(ALONE.map(str::to_owned))
            .chain(iter::once(kernel.clone()))
            .collect();
        // In a folder that holds a package already, apt would leave it out.
        let uris = run(Command::new("apt-get").args(["download", "--print-uris"]).args(&names).current_dir(work_dir))?;
        if uris.lines().count() < names.len() {
            bail!("apt can download only some of {names:?}; `apt-get update` renews its lists");
        }
        Ok(Self { kernel, names, uris })
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The name of the package with the kernel.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Changes when any package does.
    pub fn fingerprint(&self) -> &str {
        &self.uris
    }

    /// Downloads and unpacks them below `work_dir`.
    pub fn unpack(&self, work_dir: &Path) -> anyhow::Result<Tree> {
        let (archives, root) = (work_dir.join("packages"), work_dir.join("tree"));
        fs::create_dir(&archives).context("cannot make a folder for packages")?;
        run(Command::new("apt-get").args(["download", "-q"]).args(&self.names).current_dir(&archives))?;
        let mut files: Vec<PathBuf> = fs::read_dir(&archives)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .context("cannot list the packages")?;
        files.sort();
        for file in files {
            run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&root))?;
        }
        Ok(Tree { root })
    }
}

impl Tree {
    /// The path of a file that some package has, given from `/`; `/usr` may be merged or not.
    pub fn file(&self, path: &str) -> anyhow::Result<PathBuf> {
        ["", "usr/"]
            .iter()
            .map(|prefix| self.root.join(format!("{prefix}{path}")))
            .find(|candidate| candidate.exists())
            .with_context(|| format!("no package has the file {path}"))
    }

    /// The one entry of a folder whose name begins with `prefix`.
    pub fn find(&self, dir: &str, prefix: &str) -> anyhow::Result<PathBuf> {
        fs::read_dir(self.file(dir)?)
            .with_context(|| format!("cannot list {dir}"))?
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .with_context(|| format!("no package has a file {dir}/{prefix}…"))
    }

    /// The folders with shared libraries.
    pub fn library_dirs(&self) -> Vec<PathBuf> {
        ["lib", "usr/lib"]
            .map(|lib| self.root.join(lib).join("x86_64-linux-gnu"))
            .into_iter()
            .filter(|d| d.is_dir())
            .collect()
    }

    /// A command that runs a program of the packages on this machine.
    pub fn command(&self, program: &str) -> anyhow::Result<Command> {
        let program = self.file(&format!("bin/{program}"))?;
        let tools = program.parent().context("a program lies in a folder")?.to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(iter::once(tools).chain(std::env::split_paths(&path)))
            .context("PATH cannot be extended")?;
        let mut command = Command::new(program);
        command.env("PATH", path);
        Ok(command)
    }
}

/// Who depends on whom, from `apt-cache depends`.
struct Graph(BTreeMap<String, Vec<String>>);

impl Graph {
    /// A package stands at the start of a line, what it depends on follows indented. The first of alternatives
    /// (`|Depends`) and virtual packages (`<name>`) are left out, so that the last alternative counts.
    fn parse(text: &str) -> Self {
        let mut graph = BTreeMap::new();
        let mut package = String::new();
        for line in text.lines() {
            if !line.starts_with([' ', '|']) {
                package = line.trim().to_owned();
                graph.entry(package.clone()).or_insert_with(Vec::new);
                continue;
            }
            let dependency = ["Depends:", "PreDepends:"].iter().find_map(|kind| line.trim().strip_prefix(kind));
            let Some(name) = dependency.map(str::trim).filter(|name| !name.starts_with('<')) else { continue };
            graph.entry(package.clone()).or_insert_with(Vec::new).push(name.to_owned());
        }
        Self(graph)
    }

    fn of(&self, package: &str) -> impl Iterator<Item = &str> {
        self.0.get(package).into_iter().flatten().map(String::as_str)
    }

    fn closure<'a>(&'a self, package: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            if found.insert(name) {
                open.extend(self.of(name));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closure_follows_dependencies_and_leaves_alternatives_out() {
        let graph = Graph::parse(
            "a\n  Depends: b\n |Depends: c\n  Depends: d\n  Depends: <virtual>\nb\n  PreDepends: e\nd\n  Depends: a\ne\nz\n",
        );
        assert_eq!(graph.closure("a"), BTreeSet::from(["a", "b", "d", "e"]));
        assert_eq!(graph.of("b").collect::<Vec<_>>(), ["e"]);
    }
}
