//! Several packages: what lies in `/etc/config`, or comes out of `uci export`.

use std::fmt;

use crate::package::push_piece;
use crate::parse::Parser;
use crate::{Package, PackageName, ParseError};

/// A set of packages, in the order they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    packages: Vec<Package>,
}

impl Config {
    /// A set without packages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what `uci export` writes: packages one after the other, each with its `package` line.
    ///
    /// # Errors
    /// Tells line, column and what was expected.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let packages = Parser::new(text)?.packages()?;
        Ok(Self { packages })
    }

    /// The packages.
    pub fn packages(&self) -> impl ExactSizeIterator<Item = &Package> {
        self.packages.iter()
    }

    /// A package by name.
    #[must_use]
    pub fn get(&self, package: &str) -> Option<&Package> {
        self.packages.iter().find(|other| other.name().as_str() == package)
    }

    /// A package to edit, by name.
    pub fn get_mut(&mut self, package: &str) -> Option<&mut Package> {
        self.packages.iter_mut().find(|other| other.name().as_str() == package)
    }

    /// Adds a package, in the place of one of the same name if there is one, which it gives back.
    pub fn insert(&mut self, package: Package) -> Option<Package> {
        match self.get_mut(package.name().as_str()) {
            Some(earlier) => Some(std::mem::replace(earlier, package)),
            None => {
                self.packages.push(package);
                None
            }
        }
    }

    /// Removes a package.
    pub fn remove(&mut self, package: &PackageName) -> Option<Package> {
        let position = self.packages.iter().position(|other| other.name() == package)?;
        Some(self.packages.remove(position))
    }
}

impl FromIterator<Package> for Config {
    fn from_iter<I: IntoIterator<Item = Package>>(packages: I) -> Self {
        let mut config = Self::new();
        for package in packages {
            config.insert(package);
        }
        config
    }
}

impl fmt::Display for Config {
    /// Prints the packages one after the other, each with a `package` line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for package in &self.packages {
            if !package.begins_with_its_line() {
                push_piece(&mut out, &format!("package {}\n", package.name()));
            }
            push_piece(&mut out, &package.print());
        }
        f.write_str(&out)
    }
}
