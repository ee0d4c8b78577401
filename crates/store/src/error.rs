//! Why the database did not do it.

/// A constraint that people can run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// The name is taken in this tenant and kind.
    Name,
    /// Another operation on the resource is under way.
    Operation,
    /// The address is taken in its network.
    Address,
    /// Something else that must be unique is not.
    Unique,
    /// Other rows refer to it.
    Reference,
}

/// Why a call into the database failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such row, or none that the caller may see.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// A constraint refused the change.
    #[error("a constraint of the database refused it ({constraint:?})")]
    Refused {
        /// Which.
        constraint: Constraint,
    },
    /// Nothing of a pool is left.
    #[error("no free {what} is left")]
    Exhausted {
        /// Of what.
        what: &'static str,
    },
    /// Another executor or a delete has taken the operation over, or a newer session the agent.
    #[error("another has taken this over")]
    Fenced,
    /// Another transaction changed the same at the same time, again and again.
    #[error("too many change the same at the same time: try again")]
    Contended {
        /// What the database said last.
        #[source]
        source: sqlx::Error,
    },
    /// The database is of another release or installation, or a secret cannot be opened.
    #[error("{0}")]
    Unusable(String),
    /// A row holds what no release wrote.
    #[error("column {column} holds what cannot be read: {detail}")]
    Corrupt {
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The database itself failed.
    #[error("the database failed")]
    Database {
        /// How.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::NotFound { what: what.to_string() }
    }
}

/// The constraints that people run into: by name in PostgreSQL, by columns in SQLite, which names none.
const CONSTRAINTS: [(Constraint, &str, &str); 3] = [
    (Constraint::Name, "resource_tenant_kind_name_key", "resource.tenant, resource.kind, resource.name"),
    (Constraint::Operation, "operation_one_at_a_time", "operation.resource"),
    (Constraint::Address, "address_pkey", "address.network, address.address"),
];

/// PostgreSQL's codes for a transaction that could not run as if alone, and for one that ended a deadlock.
const CONTENTION: [&str; 2] = ["40001", "40P01"];

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        let Some(database) = source.as_database_error() else { return Self::Database { source } };
        if database.code().is_some_and(|code| CONTENTION.contains(&code.as_ref())) {
            return Self::Contended { source };
        }
        if database.is_foreign_key_violation() {
            return Self::Refused { constraint: Constraint::Reference };
        }
        if !database.is_unique_violation() {
            return Self::Database { source };
        }
        let (name, message) = (database.constraint(), database.message());
        let known = CONSTRAINTS.iter().find(|(_, constraint, columns)| match name {
            Some(name) => name == *constraint,
            None => message.ends_with(columns),
        });
        Self::Refused { constraint: known.map_or(Constraint::Unique, |(constraint, ..)| *constraint) }
    }
}
