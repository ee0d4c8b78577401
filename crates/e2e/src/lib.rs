//! End-to-end tests of the whole, with real guests and real packets: see `tests/it`.
