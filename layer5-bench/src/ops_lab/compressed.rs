//! The rules and routes that are installed, with every duration divided by a factor, so that hours pass in minutes.
//! In: the files of `deploy/`. Out: the same text, in which nothing but durations differs. Called from: `parts`.
//! What is a duration: `for:`, `interval:` and the waits of Alertmanager's routes; ranges `[5m]`; and thresholds on a
//! metric of seconds of a minute or more, as `layer5_outbox_oldest_seconds > 300`.
//! Invariants: nothing is evaluated more often than once a second, which is as often as the lab scrapes.

/// Keys of the files whose value is a duration, and whether it may fall below a second.
const KEYS: [&str; 6] = [
    "for",
    "interval",
    "group_wait",
    "group_interval",
    "repeat_interval",
    "resolve_timeout",
];
/// Shortest duration of a key, ms.
const SHORTEST_MS: u64 = 1000;
/// Thresholds below this are levels of service, not waits, s.
const WAIT_MIN: f64 = 60.0;

/// `text` with every duration divided by `factor`.
#[must_use]
pub fn compressed(text: &str, factor: u32) -> String {
    let lines = text.split_inclusive('\n');
    lines.map(|line| line_of(line, factor)).collect()
}

fn line_of(line: &str, factor: u32) -> String {
    let bare = line.trim_start().trim_start_matches("- ");
    if let Some((key, value)) = bare.trim_end().split_once(": ")
        && KEYS.contains(&key)
        && let Some(millis) = millis(value)
    {
        let shorter = match millis {
            0 => 0,
            _ => (millis / u64::from(factor)).max(SHORTEST_MS),
        };
        return line.replace(
            &format!("{key}: {value}"),
            &format!("{key}: {}", text_of(shorter)),
        );
    }
    thresholds(&ranges(line, factor), factor)
}

/// `[5m]` becomes `[5s]`.
fn ranges(line: &str, factor: u32) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        out += before;
        out.push('[');
        rest = after;
        if let Some((range, after)) = after.split_once(']')
            && let Some(millis) = millis(range)
        {
            out += &text_of(millis / u64::from(factor));
            out.push(']');
            rest = after;
        }
    }
    out + rest
}

/// `_seconds > 300` becomes `_seconds > 5`.
fn thresholds(line: &str, factor: u32) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(" > ") {
        let (before, after) = rest.split_at(at + 3);
        out += before;
        rest = after;
        let is_wait = before[..at].trim_end_matches(')').ends_with("_seconds");
        let end = after.find(|c: char| !(c.is_ascii_digit() || " *".contains(c)));
        let number = after[..end.unwrap_or(after.len())].trim_end();
        let seconds: Option<f64> = number
            .split(" * ")
            .map(|factor| factor.parse::<f64>().ok())
            .product();
        if let Some(seconds) = seconds.filter(|s| is_wait && *s >= WAIT_MIN) {
            out += &(seconds / f64::from(factor)).to_string();
            rest = &after[number.len()..];
        }
    }
    out + rest
}

/// Milliseconds of `5m`, `1h30m`, `15s`.
fn millis(text: &str) -> Option<u64> {
    let (mut sum, mut digits) = (0, String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            'm' if chars.next_if_eq(&'s').is_some() => 1,
            's' => 1000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return None,
        };
        sum += std::mem::take(&mut digits).parse::<u64>().ok()? * unit;
    }
    (digits.is_empty() && !text.is_empty()).then_some(sum)
}

fn text_of(millis: u64) -> String {
    match millis % 1000 {
        0 => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_every_form_are_divided_and_nothing_else() {
        for (line, expected) in [
            ("        for: 5m\n", "        for: 5s\n"),
            ("        for: 0m\n", "        for: 0s\n"),
            ("    interval: 15s\n", "    interval: 1s\n"),
            ("      group_wait: 0s\n", "      group_wait: 0s\n"),
            ("    repeat_interval: 4h\n", "    repeat_interval: 240s\n"),
            (
                "expr: sum(rate(x_total[5m])) / y[1h]\n",
                "expr: sum(rate(x_total[5s])) / y[60s]\n",
            ),
            ("rate(x[30s])", "rate(x[500ms])"),
            (
                "max(layer5_uptime_seconds) > 300)",
                "max(layer5_uptime_seconds) > 5)",
            ),
            (
                "layer5_backup_age_seconds > 26 * 3600\n",
                "layer5_backup_age_seconds > 1560\n",
            ),
            (
                "x:processing_seconds:p95_5m > 0.1\n",
                "x:processing_seconds:p95_5m > 0.1\n",
            ),
            (
                "job:a:ratio_rate1h > 14.4 * 0.001 and job:a:ratio_rate5m > 14.4 * 0.001",
                "job:a:ratio_rate1h > 14.4 * 0.001 and job:a:ratio_rate5m > 14.4 * 0.001",
            ),
            (
                "description: waits for 5 minutes\n",
                "description: waits for 5 minutes\n",
            ),
            (
                "matchers: [escalation = \"director\"]\n",
                "matchers: [escalation = \"director\"]\n",
            ),
        ] {
            assert_eq!(compressed(line, 60), expected);
        }
    }

    /// Every word of the installed files is the same, or a duration that was divided: judged by another reading of
    /// durations than the one above.
    #[test]
    fn of_the_installed_files_nothing_but_durations_changes() {
        let seconds = |word: &str| -> Option<f64> {
            let end = word.find(|c: char| !c.is_ascii_digit())?;
            let number: f64 = word[..end].parse().ok()?;
            let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
            let unit = units.iter().find(|(name, _)| *name == &word[end..])?;
            Some(number * unit.1)
        };
        for text in [
            include_str!("../../../deploy/prometheus/rules/alerts.yml"),
            include_str!("../../../deploy/prometheus/rules/recording.yml"),
            include_str!("../../../deploy/alertmanager/alertmanager.yml"),
        ] {
            assert_eq!(compressed(text, 1).lines().count(), text.lines().count());
            let text = text.replace("26 * 3600", "93600");
            let words = |text: &str| -> Vec<String> {
                let parts = text.split(|c: char| c.is_whitespace() || "[]()".contains(c));
                parts.filter(|w| !w.is_empty()).map(str::to_owned).collect()
            };
            let (before, after) = (words(&text), words(&compressed(&text, 60)));
            assert_eq!(before.len(), after.len());
            let mut changed = 0;
            for (old, new) in before.iter().zip(&after) {
                if old == new {
                    continue;
                }
                changed += 1;
                let wait = |word: &String| seconds(word).or_else(|| word.parse().ok());
                let (from, to) = (wait(old), wait(new));
                let ratio = from.zip(to).map(|(from, to)| (from, to, from / to));
                assert!(
                    ratio.is_some_and(|(from, to, ratio)| ratio == 60.0
                        || (to == 1.0 && from < 60.0)
                        || from == to),
                    "{old} became {new}"
                );
            }
            assert!(changed > 5, "{changed}");
        }
    }
}
