//! API keys, for people.

use super::ruled;
use crate::keys::{Issued, Listed};

/// A key that was made, this once.
pub fn issued(issued: &Issued) -> String {
    let Issued { key, listed, replaces } = issued;
    let replaced = replaces.as_ref().map_or_else(String::new, |old| {
        format!("\nIn the place of {}, which ends at {}.", old.id, old.expires.as_deref().unwrap_or_default())
    });
    format!("{key}\n\nKeep it: it cannot be shown again. Its id is {}.{replaced}", listed.id)
}

/// Keys as a table.
pub fn keys(keys: &[Listed]) -> String {
    let mut table = ruled();
    table.set_header(["id", "name", "scopes", "apps", "a minute", "created", "expires", ""]);
    for key in keys {
        table.add_row([
            key.id.clone(),
            key.name.clone(),
            key.scopes.join(", "),
            key.apps.join(", "),
            key.per_minute.map_or_else(String::new, |requests| requests.to_string()),
            key.created.clone(),
            key.expires.clone().unwrap_or_default(),
            (if key.valid { "" } else { "ended" }).to_owned(),
        ]);
    }
    format!("{table}\n{} keys, {} of them good.", keys.len(), keys.iter().filter(|key| key.valid).count())
}

/// A key that was ended.
pub fn revoked(key: &Listed) -> String {
    format!(
        "{} ({}) ended at {}; within 60 s nothing takes it.",
        key.id,
        key.name,
        key.expires.as_deref().unwrap_or_default()
    )
}
