//! Layer5 as a service: the only room with doors, a clock and a disk.
//!
//! In the order of a report's way: [`http`] takes bytes and [`sources`] fetch them, [`intake`] makes checked samples of them and hands them to
//! the [`pipeline`], whose committer makes them durable in the [`store`] and feeds them to the [`refinery`]; its
//! recommendations leave by the [`outbox`] to the [`neighbours`]. [`app`] wires it all in one function, [`config`] says
//! how, [`backup`] keeps it apart from its disk, [`cli`] is the `layer5` command, and [`standin`] plays the neighbours in the demo.
//!
//! A service can be had inside another program: `examples/embed_service.rs` starts one, pushes a report, asks for its
//! status and stops it.

pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counters;
pub mod deliveries;
pub mod http;
pub mod intake;
pub mod logging;
pub mod metrics;
pub mod neighbours;
pub mod outbox;
pub mod pipeline;
pub mod process;
pub mod refinery;
mod report_page;
mod series_report;
pub mod sources;
pub mod standin;
pub mod store;
mod study_desk;
