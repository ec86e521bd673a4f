//! Passwords in addresses: found, so that no file may hold one, and hidden wherever a value is shown.
//! In: values of a configuration. Out: the same without passwords. Called from: whoever loads one, `layer5 config`,
//! `GET /api/v1/config`, the log of a reload.
//! Invariants: other secrets are never values: they stand in the files that the keys ending in `_file` name.

use std::borrow::Cow;

/// What stands where a password was.
const HIDDEN: &str = "***";

/// `text` with the password of every address in it replaced: `redis://:secret@host` becomes `redis://:***@host`.
#[must_use]
pub fn hidden(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(['/', ',', ' ']).unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                let name = user.split_once(':').map_or(user, |(name, _)| name);
                let is_secret = user.len() > name.len() + 1;
                out.push_str(if is_secret { name } else { user });
                if is_secret {
                    out.push(':');
                    out.push_str(HIDDEN);
                }
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = &after[end..];
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether `text` is an address with a password in it.
pub(super) fn holds_password(text: &str) -> bool {
    hidden(text) != text
}

/// A value as it may be shown.
#[must_use]
pub fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => toml::Value::String(hidden(text).into_owned()).to_string(),
        other => other.to_string(),
    }
}

/// Hides what is secret in every text of `value`.
pub fn hide_in(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = hidden(text).into_owned(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(hide_in),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(hide_in),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        for (given, shown) in [
            ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
            (
                "redis://u:p@a,redis://u:q@b/1",
                "redis://u:***@a,redis://u:***@b/1",
            ),
            ("http://u:p@ss@host/x", "http://u:***@host/x"),
            ("http://user@host", "http://user@host"),
            ("http://user:@host", "http://user:@host"),
            ("http://host:80/a@b:c", "http://host:80/a@b:c"),
            ("layer5_server=debug,warn", "layer5_server=debug,warn"),
        ] {
            assert_eq!(hidden(given), shown);
            assert_eq!(holds_password(given), given != shown);
        }
    }
}
