//! Sealing what others keep in this database, under the database's own key.
//!
//! Whoever seals holds the key's lock until the transaction is done, so that a renewal of the key never finds a row
//! that was sealed under the one before it.

use super::Keyring;
use crate::{fault::Fault, store::keys};
use db::Tx;
use rusqlite::Connection;
use secrets::{Secret, seal::DataKey};

impl Keyring {
    /// A transaction with the database's key at hand.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        label: &'static str,
        work: impl FnOnce(&Tx<'_>, &DataKey) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let held = self.0.held.lock().await;
        let key = held.clone();
        self.0.database.try_write(label, move |tx| work(tx, &key)).await
    }

    /// A look with the database's key at hand.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &DataKey) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let held = self.0.held.lock().await;
        let key = held.clone();
        self.0.database.try_read(move |conn| work(conn, &key)).await
    }
}

/// Seals a value as the row `name`, which is also what it is sealed for: moved to another row, it does not open.
pub(crate) fn seal_as(tx: &Tx<'_>, key: &DataKey, name: &str, value: &[u8]) -> Result<(), Fault> {
    let sealed = key.seal(value, name.as_bytes()).map_err(|error| defect(name, &error))?;
    Ok(keys::replace_sealed(tx, name, &sealed)?)
}

/// Opens the row `name`, if there is one.
pub(crate) fn open_sealed(
    conn: &Connection,
    key: &DataKey,
    name: &str,
) -> Result<Option<Secret>, Fault> {
    let Some(sealed) = keys::sealed(conn, name)? else { return Ok(None) };
    let opened = key.open(&sealed, name.as_bytes()).map_err(|error| defect(name, &error))?;
    Secret::new(opened).map(Some).map_err(|error| defect(name, &error))
}

fn defect(name: &str, error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::Defect(format!("the sealed row `{name}` does not open: {}", kit::chain(error)))
}
