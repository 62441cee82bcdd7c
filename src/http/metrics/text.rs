//! Prometheus's text format: for each metric its help, its type, its samples.

use std::fmt::Write;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Quantiles, with sum and count.
    Summary,
    /// Counts up to a bound each, with sum and count.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Summary => "summary",
            Self::Histogram => "histogram",
        }
    }
}

/// The text so far.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a metric; one without samples is left out.
    pub(super) fn metric(&mut self, name: &str, kind: Kind, help: &str) -> Metric<'_> {
        let head = format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name());
        Metric { text: &mut self.text, head: Some(head), name: name.to_owned() }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A metric whose samples are being written.
pub(super) struct Metric<'a> {
    text: &'a mut String,
    head: Option<String>,
    name: String,
}

impl Metric<'_> {
    /// The only sample of a metric without labels.
    pub(super) fn plain(&mut self, value: f64) {
        self.sample(&[], value);
    }

    /// A sample with labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample_of("", labels, value);
    }

    /// A sample of the series that is named after the metric and `suffix`.
    pub(super) fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        if let Some(head) = self.head.take() {
            self.text.push_str(&head);
        }
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(text, self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect("writing to memory does not fail");
    }
}

fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_empty_metrics_left_out() {
        let mut out = Exposition::default();
        out.metric("a", Kind::Gauge, "None.");
        out.metric("b", Kind::Counter, "One.").sample(&[("l", "x\"\\\n")], 0.25);
        out.metric("c", Kind::Gauge, "Another.").plain(1e16);
        let expected = "# HELP b One.\n# TYPE b counter\nb{l=\"x\\\"\\\\\\n\"} 0.25\n\
                        # HELP c Another.\n# TYPE c gauge\nc 10000000000000000\n";
        assert_eq!(out.finish(), expected);
    }
}
