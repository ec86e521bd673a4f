//! Where a shape comes again: exact search, the shapes a series repeats, the one it never does, and named shapes.
//! In: a series, perhaps a query. Out: distances and places. Called from: [`crate::analyze()`].
//! Notation: n samples, m window; distances are between z-normalised windows, 0..=2 sqrt(m); profile `[n - m + 1]`.
//! Invariants, everywhere: a gap (`NaN`, infinity) is not filled: a window with one is infinitely far from all, and matches no
//! shape; two constant windows are at 0, a constant and a varying one at sqrt(m), and neither is the other's neighbour in a
//! profile; a window longer than the series gives an empty answer.

mod diagonals;
mod dtw;
mod mass;
mod matrix_profile;
mod motifs;
mod shapes;
mod streaming;
mod templates;
mod windows;

pub use dtw::{DtwMatch, dtw, dtw_search};
pub use mass::mass;
pub use matrix_profile::{MatrixProfile, ab_join, matrix_profile};
pub use motifs::{Discord, Motif, discords, motifs};
pub use shapes::{SHAPES, Shape, ShapeMatch, find_shapes};
pub use streaming::{Nearest, StreamingProfile};
pub use templates::{Template, TemplateMatch, TemplateState, TemplateWatch, find_templates};
