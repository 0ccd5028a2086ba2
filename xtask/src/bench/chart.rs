//! The chart: a panel for each peer, a line for each measure, a mark for each model, type and number of threads.
//!
//! The horizontal axis is the ratio, in powers of two; what lies right of the line at 1 is where gust is better. Colours
//! come from a style sheet inside the picture, so that it fits a light page and a dark one.

use std::fmt::Write as _;

use crate::order::{NO_REPACK, PEERS};
use crate::plan::{MODELS, TYPES};
use crate::results::{MEASURES, Row};

const WIDTH: f64 = 860.0;
/// Where the ratios are drawn.
const LEFT: f64 = 150.0;
const RIGHT: f64 = WIDTH - 90.0;
const HEAD: f64 = 92.0;
const PANEL_HEAD: f64 = 44.0;
const LINE: f64 = 30.0;

const STYLE: &str = "
  text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: var(--ink) }
  .title { font-size: 19px; font-weight: 600 }
  .panel { font-size: 15px; font-weight: 600 }
  .quiet { fill: var(--quiet); font-size: 12px }
  .number { font-variant-numeric: tabular-nums; text-anchor: end }
  .page { fill: var(--page) }
  .better { fill: var(--better) }
  .grid { stroke: var(--grid); stroke-width: 1 }
  .even { stroke: var(--ink); stroke-width: 1.5 }
  .mark { stroke-width: 2 }
  .q4_0 { stroke: var(--a); color: var(--a) }
  .q4_k { stroke: var(--b); color: var(--b) }
  .q8_0 { stroke: var(--c); color: var(--c) }
  .q4_0_x4 { stroke: var(--d); color: var(--d) }
  .q8_0_x4 { stroke: var(--e); color: var(--e) }
  .one { fill: var(--page) }
  .more { fill: currentColor }
  svg { --page: #ffffff; --ink: #1c1f24; --quiet: #667080; --grid: #e3e7ed; --better: #f2f8f4;
        --a: #1f6fd6; --b: #d1620f; --c: #128a5c; --d: #7a3fd0; --e: #b3265c }
  @media (prefers-color-scheme: dark) {
    svg { --page: #14171c; --ink: #e8ebf0; --quiet: #99a3b3; --grid: #2a303a; --better: #17211d;
          --a: #6fb1ff; --b: #ff9f5a; --c: #4fd39b; --d: #b68cff; --e: #ff7fae }
  }
";

/// The picture of all rows.
pub(crate) fn svg(rows: &[Row]) -> String {
    let panels: Vec<Panel<'_>> = PEERS
        .iter()
        .map(|peer| Panel::new(peer, rows))
        .filter(|panel| !panel.lines.is_empty())
        .collect();
    let axis = Axis::around(rows.iter().map(|row| row.ratio));
    let height = HEAD + panels.iter().map(Panel::height).sum::<f64>() + 16.0;
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' \
         role='img'>\n<title>gust against its peers</title>\n<style>{STYLE}</style>\n\
         <rect class='page' width='{WIDTH}' height='{height}' rx='10'/>\n"
    );
    legend(&mut text);
    let mut top = HEAD;
    for panel in &panels {
        panel.draw(&mut text, top, &axis);
        top += panel.height();
    }
    text.push_str("</svg>\n");
    text
}

fn legend(text: &mut String) {
    put(text, 24.0, 36.0, "title", "How many times better gust is");
    put(
        text,
        24.0,
        58.0,
        "quiet",
        "Medians of alternating rounds on the same machine and file. Right of 1: faster, sooner, or less memory.",
    );
    let mut x = 24.0;
    for ty in TYPES {
        mark(
            text,
            x + 6.0,
            77.0,
            Look {
                model: 0,
                ty,
                threads: 2,
            },
            ty,
        );
        put(text, x + 18.0, 81.0, "quiet", &ty.to_uppercase());
        x += 40.0 + 8.0 * ty.len() as f64;
    }
    x += 10.0;
    for (threads, name) in [(1, "1 thread"), (2, "2 threads")] {
        mark(
            text,
            x + 6.0,
            77.0,
            Look {
                model: 0,
                ty: "q4_0",
                threads,
            },
            name,
        );
        put(text, x + 18.0, 81.0, "quiet", name);
        x += 90.0;
    }
    x += 10.0;
    for (model, name) in MODELS.iter().enumerate() {
        mark(
            text,
            x + 6.0,
            77.0,
            Look {
                model,
                ty: "q4_0",
                threads: 1,
            },
            name,
        );
        put(text, x + 18.0, 81.0, "quiet", name);
        x += 120.0;
    }
}

/// One peer.
struct Panel<'a> {
    peer: &'a str,
    /// Measures that there are rows of.
    lines: Vec<(&'a str, Vec<&'a Row>)>,
}

impl<'a> Panel<'a> {
    fn new(peer: &'a str, rows: &'a [Row]) -> Self {
        let of = |measure: &str| -> Vec<&Row> {
            rows.iter()
                .filter(|row| row.peer == peer && row.measure == measure)
                .collect()
        };
        let lines = MEASURES.iter().map(|measure| (*measure, of(measure)));
        Self {
            peer,
            lines: lines.filter(|(_, rows)| !rows.is_empty()).collect(),
        }
    }

    fn height(&self) -> f64 {
        PANEL_HEAD + LINE * self.lines.len() as f64 + 34.0
    }

    fn draw(&self, text: &mut String, top: f64, axis: &Axis) {
        let (first, last) = (top + PANEL_HEAD, top + self.height() - 34.0);
        put(text, 24.0, top + 28.0, "panel", &title(self.peer));
        let even = axis.x(1.0);
        let _ = writeln!(
            text,
            "<rect class='better' x='{even:.1}' y='{first:.1}' width='{:.1}' height='{:.1}'/>",
            RIGHT - even,
            last - first
        );
        for ratio in axis.steps() {
            let x = axis.x(ratio);
            let class = if ratio == 1.0 { "even" } else { "grid" };
            let _ = writeln!(
                text,
                "<line class='{class}' x1='{x:.1}' x2='{x:.1}' y1='{first:.1}' y2='{last:.1}'/>"
            );
            let more = if axis.cuts(ratio) { "+" } else { "" };
            let _ = writeln!(
                text,
                "<text class='quiet' text-anchor='middle' x='{x:.1}' y='{:.1}'>{ratio}{more}</text>",
                last + 17.0
            );
        }
        for (index, (measure, rows)) in self.lines.iter().enumerate() {
            let y = first + LINE * (index as f64 + 0.5);
            put(text, 24.0, y + 4.0, "", measure);
            for row in rows {
                let look = Look::of(row);
                mark(text, axis.x(row.ratio), y + look.shift(), look, &said(row));
            }
            let ratios = || rows.iter().map(|row| row.ratio);
            let (low, high) = (
                ratios().fold(f64::INFINITY, f64::min),
                ratios().fold(0.0, f64::max),
            );
            let range = match rows.len() {
                1 => short(low),
                _ => format!("{}–{}", short(low), short(high)),
            };
            put(text, WIDTH - 20.0, y + 4.0, "number", &range);
        }
    }
}

/// Three digits, or all there are in front of the point.
fn short(ratio: f64) -> String {
    match ratio {
        ..10.0 => format!("{ratio:.2}"),
        ..100.0 => format!("{ratio:.1}"),
        _ => format!("{ratio:.0}"),
    }
}

fn title(peer: &str) -> String {
    match peer {
        "llama.cpp" => "against llama.cpp, native".to_owned(),
        NO_REPACK => "against llama.cpp, native, without repacking".to_owned(),
        "wllama" => "against wllama (llama.cpp in WebAssembly, Chromium)".to_owned(),
        "candle" => "against candle, native (AVX2)".to_owned(),
        "gust-1" => "gust with more threads against gust with one".to_owned(),
        other => format!("against {other}"),
    }
}

/// What a mark says when it is pointed at.
fn said(row: &Row) -> String {
    format!(
        "{}: gust {} {}, {} {}: {:.2}",
        row.name(),
        row.gust,
        row.unit,
        row.peer,
        row.other,
        row.ratio
    )
}

/// What a mark looks like.
#[derive(Clone, Copy)]
struct Look<'a> {
    model: usize,
    ty: &'a str,
    threads: usize,
}

impl<'a> Look<'a> {
    fn of(row: &'a Row) -> Self {
        let model = MODELS.iter().position(|&model| model == row.model);
        Self {
            model: model.unwrap_or(0),
            ty: &row.ty,
            threads: row.threads,
        }
    }

    /// Types lie above one another, so that marks of the same ratio can be told apart.
    fn shift(self) -> f64 {
        let at = TYPES.iter().position(|&ty| ty == self.ty).unwrap_or(1);
        (at as f64 - 2.0) * 6.0
    }
}

/// Colour: the type. Hollow: one thread. Shape: the model.
fn mark(text: &mut String, x: f64, y: f64, look: Look<'_>, said: &str) {
    let fill = if look.threads == 1 { "one" } else { "more" };
    let shape = match look.model {
        0 => format!("<circle cx='{x:.1}' cy='{y:.1}' r='4.2'"),
        _ => format!("<path d='M{x:.1} {:.1}l5 5l-5 5l-5 -5z'", y - 5.0),
    };
    let tag = if look.model == 0 { "circle" } else { "path" };
    let _ = writeln!(
        text,
        "{shape} class='mark {} {fill}'><title>{}</title></{tag}>",
        escaped(look.ty),
        escaped(said)
    );
}

fn put(text: &mut String, x: f64, y: f64, class: &str, content: &str) {
    let _ = writeln!(
        text,
        "<text class='{class}' x='{x:.1}' y='{y:.1}'>{}</text>",
        escaped(content)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
}

/// Powers of two from left to right.
struct Axis {
    low: i32,
    high: i32,
    /// Whether there are ratios that lie beyond the right end.
    is_cut: bool,
}

/// Where the axis ends at the latest, as a power of two: loading is compared in hundreds, all else would be a dot.
const END: i32 = 4;

impl Axis {
    /// Wide enough for all ratios up to its end, and never without 1/2 to 2.
    fn around(ratios: impl Iterator<Item = f64>) -> Self {
        let mut axis = Self {
            low: -1,
            high: 1,
            is_cut: false,
        };
        for log in ratios.filter(|ratio| *ratio > 0.0).map(f64::log2) {
            axis.low = axis.low.min(log.floor() as i32);
            axis.high = axis.high.max(log.ceil() as i32).min(END);
            axis.is_cut |= log > f64::from(END);
        }
        axis
    }

    /// Whether what is drawn at `ratio` may be more than that.
    fn cuts(&self, ratio: f64) -> bool {
        self.is_cut && ratio == 2f64.powi(self.high)
    }

    fn x(&self, ratio: f64) -> f64 {
        let share = (ratio.log2() - f64::from(self.low)) / f64::from(self.high - self.low);
        let share = share.clamp(0.0, 1.0);
        LEFT + share * (RIGHT - LEFT)
    }

    fn steps(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|log| 2f64.powi(log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::row;

    #[test]
    fn better_is_right_of_one() {
        let axis = Axis::around([0.3, 5.0].into_iter());
        assert_eq!((axis.low, axis.high), (-2, 3));
        assert_eq!((axis.x(0.25), axis.x(8.0)), (LEFT, RIGHT));
        assert!(axis.x(1.1) > axis.x(1.0) && axis.x(1.0) > axis.x(0.9));
        assert!(!axis.cuts(8.0));
    }

    #[test]
    fn what_is_far_better_lies_at_the_end() {
        let axis = Axis::around([0.9, 70.0].into_iter());
        assert_eq!((axis.low, axis.high), (-1, 4));
        assert_eq!(axis.x(70.0), RIGHT);
        assert!(axis.cuts(16.0) && !axis.cuts(8.0));
        assert_eq!([9.999, 70.25, 152.09].map(short), ["10.00", "70.2", "152"]);
    }

    #[test]
    fn every_row_has_a_mark_in_the_panel_of_its_peer() {
        let rows = [
            row("tinyllama-1.1b/q4_0/1/decode64@0", "llama.cpp", 12.0, 10.0),
            row("llama-3.2-1b/q8_0/2/prefill128", "llama.cpp", 12.0, 20.0),
            row("tinyllama-1.1b/q4_k/2/decode64@0", "wllama", 12.0, 3.0),
        ];
        let svg = svg(&rows);
        for row in &rows {
            assert!(
                svg.contains(&format!("<title>{}</title>", said(row))),
                "{}",
                said(row)
            );
        }
        assert_eq!(svg.matches("class='panel'").count(), 2);
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        assert!(svg.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn text_cannot_break_the_picture() {
        assert_eq!(escaped("a<b>&'c'"), "a&lt;b>&amp;&apos;c&apos;");
    }
}
