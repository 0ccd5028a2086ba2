//! `gust bench --trace`: where the time of one more round went.

use std::time::{Duration, Instant};

use gust::{Model, OperatorTime, Session};
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output::table;
use super::super::units::milliseconds;
use super::{BenchArgs, begin_answer, generate};

/// The times of the operators, for a prompt and for the tokens after it.
#[derive(Serialize)]
pub(super) struct Trace {
    prefill: Vec<Share>,
    decode: Vec<Share>,
}

/// An operator's share.
#[derive(Serialize)]
struct Share {
    operator: String,
    calls: u64,
    milliseconds: f64,
    /// Fraction of the total time, 0 to 1.
    share: f64,
}

/// The remaining time: choosing the token, making its text, and everything outside the engine.
const REST: &str = "(rest)";

/// Measures a round. The context holds the tokens before the prompt.
pub(super) fn trace(
    model: &Model,
    session: &mut Session,
    prompt: &[u32],
    args: &BenchArgs,
) -> Result<Trace, Failure> {
    session.truncate(args.depth)?;
    begin_answer(session, args.gen_tokens + 1, args.lookup)?;
    let timed = |session: &mut Session, work: &dyn Fn(&mut Session) -> Result<(), Failure>| {
        model.start_trace()?;
        let start = Instant::now();
        work(session)?;
        let all = start.elapsed();
        Ok::<_, Failure>(shares(model.stop_trace()?, all))
    };
    let prefill = timed(session, &|session| Ok(session.feed(prompt)?))?;
    generate(session, 1)?;
    let decode = timed(session, &|session| generate(session, args.gen_tokens))?;
    Ok(Trace { prefill, decode })
}

fn shares(times: Vec<OperatorTime>, all: Duration) -> Vec<Share> {
    let known: Duration = times.iter().map(|time| time.time).sum();
    let rest = OperatorTime {
        operator: REST.to_owned(),
        calls: 1,
        time: all.saturating_sub(known),
    };
    let share = |time: OperatorTime| Share {
        operator: time.operator,
        calls: time.calls,
        milliseconds: milliseconds(time.time),
        share: milliseconds(time.time) / milliseconds(all).max(f64::MIN_POSITIVE),
    };
    times.into_iter().chain([rest]).map(share).collect()
}

impl Trace {
    /// Two tables.
    pub(super) fn text(&self) -> String {
        let part = |title: &str, shares: &[Share]| {
            let head = [title, "calls", "ms", "share"].map(str::to_owned).to_vec();
            let rows = shares.iter().map(|share| {
                vec![
                    share.operator.clone(),
                    format!("{:>6}", share.calls),
                    format!("{:>9.2}", share.milliseconds),
                    format!("{:>5.1} %", 100.0 * share.share),
                ]
            });
            table(&[vec![head], rows.collect()].concat())
        };
        let (prefill, decode) = (part("prefill", &self.prefill), part("decode", &self.decode));
        format!("\n{prefill}\n{decode}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_the_rest_are_all_of_the_time() {
        let time = |operator: &str, ms| OperatorTime {
            operator: operator.to_owned(),
            calls: 2,
            time: Duration::from_millis(ms),
        };
        let shares = shares(
            vec![time("attn_q", 20), time("ffn_up", 30)],
            Duration::from_millis(100),
        );
        let found: Vec<_> = shares
            .iter()
            .map(|share| (share.operator.as_str(), share.milliseconds, share.share))
            .collect();
        let expected = [
            ("attn_q", 20.0, 0.2),
            ("ffn_up", 30.0, 0.3),
            (REST, 50.0, 0.5),
        ];
        assert_eq!(found, expected);
    }
}
