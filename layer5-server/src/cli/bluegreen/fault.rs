//! What can be wrong with a new version, and how the exercise brings it about with the real program.
//! Each fault is a setting of the candidate, or something that is done to it; the deployment must find it and leave the old
//! version serving. Called from: [`super::local`].

use clap::ValueEnum;

/// One kind of bad version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Fault {
    /// It ends as soon as it starts.
    Crash,
    /// It starts and never becomes ready.
    NotReady,
    /// It refuses reports that the old version takes.
    Errors,
    /// It finds other things in the same reports.
    Numbers,
    /// Its advice turns out wrong after the switch.
    Accuracy,
    /// It is killed after the switch.
    CrashLate,
    /// It is killed as it takes over, when the old version has gone already.
    CrashTakeover,
    /// It refuses reports only when it is active.
    ErrorsLate,
}

/// Faults in the order in which an exercise goes through them.
pub(super) const FAULTS: [Fault; 8] = [
    Fault::Crash,
    Fault::NotReady,
    Fault::Errors,
    Fault::Accuracy,
    Fault::Numbers,
    Fault::CrashLate,
    Fault::ErrorsLate,
    Fault::CrashTakeover,
];

impl Fault {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Settings of the candidate while it is a shadow.
    pub(super) fn shadow_settings(self) -> Vec<(&'static str, String)> {
        match self {
            // No such key: the program refuses to start.
            Self::Crash => vec![("LAYER5_STORE__NO_SUCH_KEY", "1".into())],
            Self::Errors => too_old(),
            Self::Numbers => vec![("LAYER5_PATTERNS__ENABLED", "false".into())],
            _ => vec![],
        }
    }

    /// Settings of the new version when it takes over.
    pub(super) fn active_settings(self) -> Vec<(&'static str, String)> {
        match self {
            Self::ErrorsLate => too_old(),
            _ => vec![],
        }
    }
}

/// Every report is older than this.
fn too_old() -> Vec<(&'static str, String)> {
    vec![("LAYER5_LIMITS__MAX_AGE_SECONDS", "0.000001".into())]
}
