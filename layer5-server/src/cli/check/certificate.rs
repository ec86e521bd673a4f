//! How long certificates are still good for, from their files.
//! In: PEM files. Out: days until the first one in each ends. Called from: [`super::check`].

use std::path::{Path, PathBuf};

use layer5_core::Timestamp;
use x509_parser::pem::Pem;

const DAY: f64 = 86_400.0;

/// One file.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) path: PathBuf,
    /// Days until the first certificate in it ends, negative when it has; or why that is not known.
    pub(super) days_left: Result<f64, String>,
}

impl Certificate {
    pub(super) fn read(path: &Path, now: Timestamp) -> Self {
        Self {
            path: path.to_owned(),
            days_left: first_end(path).map(|end| end.seconds_since(now) / DAY),
        }
    }
}

fn first_end(path: &Path) -> Result<Timestamp, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let mut first: Option<Timestamp> = None;
    for pem in Pem::iter_from_buffer(&bytes) {
        let pem = pem.map_err(|e| e.to_string())?;
        if pem.label != "CERTIFICATE" {
            continue;
        }
        let certificate = pem.parse_x509().map_err(|e| e.to_string())?;
        let end = certificate.validity().not_after.timestamp();
        let end = Timestamp::from_millis(end.saturating_mul(1000));
        first = Some(first.map_or(end, |first| first.min(end)));
    }
    first.ok_or_else(|| "no certificate is in it".to_owned())
}
