//! Pages that a person opens from disk: one HTML file each, with its charts inside as SVG.
//! In: plain data. Out: the page as text. Called from: `layer5 analyze --html`, `layer5 optimize report --html` and the
//! service's study reports.
//! Invariants: a page loads nothing (its policy forbids it), needs no script, reads in light and dark and without colour,
//! and holds a bounded number of marks whatever is drawn; every text from outside is escaped.

mod axis;
mod frame;
mod series_page;
mod study_page;

pub(crate) use series_page::series_page;
pub(crate) use study_page::study_page;

/// `text` as it may stand in HTML, in elements and attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The few numbers that sum a page up, each with what it is.
fn facts<'a>(items: impl IntoIterator<Item = (String, &'a str)>) -> String {
    let items: String = items
        .into_iter()
        .map(|(value, name)| format!("<li><b>{}</b><span>{name}</span></li>", escape(&value)))
        .collect();
    format!("<ul class=\"facts\">{items}</ul>\n")
}

/// A whole page. `body` is HTML already.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         <footer>Made by layer5 {version}. This page loads nothing from anywhere.</footer>\n</body>\n</html>\n",
        title = escape(title),
        version = env!("CARGO_PKG_VERSION"),
    )
}

const STYLE: &str = include_str!("page.css");

/// A number with four significant digits, as short as it reads well: 35.6 M is easier than 35600000.
pub(crate) fn number(x: f64) -> String {
    if !x.is_finite() {
        return "–".into();
    }
    let size = x.abs();
    let large = [(1e12, "T"), (1e9, "G"), (1e6, "M")];
    let large = large
        .into_iter()
        .find(|(unit, _)| size >= *unit && size < 1e15);
    if let Some((unit, letter)) = large {
        return format!("{} {letter}", number(x / unit));
    }
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{x:.3e}");
    }
    let decimals = if size == 0.0 {
        0
    } else {
        (3 - size.log10().floor() as i32).clamp(0, 8)
    };
    let text = format!("{x:.*}", decimals as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_can_not_become_markup() {
        assert_eq!(
            escape("<script>&\"'\u{7}"),
            "&lt;script&gt;&amp;&quot;&#39;\u{fffd}"
        );
        assert!(page("<b>", "").contains("<title>&lt;b&gt;</title>"));
    }

    #[test]
    fn numbers_read_well() {
        for (x, text) in [
            (0.0, "0"),
            (50.0, "50"),
            (1234.56, "1235"),
            (0.001_234_56, "0.001235"),
            (-2.5, "-2.5"),
            (35_560_000.0, "35.56 M"),
            (-5e6, "-5 M"),
            (1e308, "1.000e308"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(x), text);
        }
    }
}
