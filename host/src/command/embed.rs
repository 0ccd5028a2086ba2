//! `gust embed` and `gust rerank`: texts as vectors, and documents in the order of their relevance.

use clap::{Args, ValueEnum};
use gust::{CancelHandle, Model, Scope};
use serde::Serialize;

use super::args::ModelArgs;
use super::failure::Failure;
use super::input;
use super::open::open;
use super::output::{Output, note, printable};
use super::progress::Progress;
use super::signals;

/// Turn texts into vectors
///
/// Prints one line for each text: the numbers of its vector, separated by spaces. Texts whose vectors point in a similar
/// direction have a similar meaning.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust embed -m all-minilm.gguf \"a cat on a mat\"
  gust embed -m all-minilm.gguf --json < lines.txt")]
pub(super) struct EmbedArgs {
    /// Text to embed [default: each line of stdin is one]
    text: Option<String>,
    /// Which of a text's hidden states represent it [default: as the model's file says; if it says nothing, the mean]
    #[arg(long, value_name = "KIND")]
    pooling: Option<Pooling>,
    /// How vectors are scaled; the outputs of a classifier never are
    #[arg(long, value_name = "HOW", default_value = "euclidean")]
    normalize: Normalize,
    /// Print one JSON object for each text: {"index":0,"tokens":7,"embedding":[...]}
    #[arg(long)]
    json: bool,
    /// Read texts that end with a zero byte instead of a newline
    #[arg(short = '0', long, conflicts_with = "text")]
    null: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// Sort documents by their relevance to a query
///
/// Reads one document per line from stdin, and prints the lines, the most relevant first: the score, a tab, the number
/// of the line counted from 0, a tab, and the line. Needs a reranker, a model with a classifier.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gust rerank -m bge-reranker.gguf \"what do pandas eat\" < candidates.txt
  gust rerank -m bge-reranker.gguf --top 3 --json \"what do pandas eat\" < candidates.txt")]
pub(super) struct RerankArgs {
    /// What the documents should be relevant to
    query: String,
    /// Print only the N most relevant documents
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Print one JSON object for each document: {"index":0,"score":1.5,"document":"..."}
    #[arg(long)]
    json: bool,
    /// Read documents that end with a zero byte instead of a newline
    #[arg(short = '0', long)]
    null: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// Which of a text's hidden states represent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pooling {
    /// All: one vector per token
    None,
    /// Their mean
    Mean,
    /// The first one
    Cls,
    /// The last one
    Last,
    /// The outputs of the model's classifier
    Rank,
}

impl From<Pooling> for gust::Pooling {
    fn from(pooling: Pooling) -> Self {
        match pooling {
            Pooling::None => Self::None,
            Pooling::Mean => Self::Mean,
            Pooling::Cls => Self::Cls,
            Pooling::Last => Self::Last,
            Pooling::Rank => Self::Rank,
        }
    }
}

/// How vectors are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Normalize {
    /// To length 1, so that a dot product is the cosine of an angle
    Euclidean,
    /// Not at all
    None,
}

/// What `embed --json` prints.
#[derive(Serialize)]
struct Embedded<'a> {
    index: usize,
    tokens: usize,
    /// The vector, or with the pooling `none` those of all tokens, one after the other.
    embedding: &'a [f32],
}

/// What `rerank --json` prints.
#[derive(Serialize)]
struct Ranked<'a> {
    index: usize,
    score: f32,
    document: &'a str,
}

pub(super) fn embed(args: &EmbedArgs) -> Result<(), Failure> {
    let input = match &args.text {
        Some(_) => String::new(),
        None => input::stdin_text()?,
    };
    let texts = match &args.text {
        Some(text) => vec![text.as_str()],
        None => separate(&input, args.null),
    };
    let model = open(&args.model, Scope::Full)?.model;
    let pooling = match args.pooling {
        Some(pooling) => pooling.into(),
        None => match model.embedding_info()?.pooling {
            gust::Pooling::None => {
                note(
                    "note: the model's file does not say how to pool; the mean is used (--pooling)",
                );
                gust::Pooling::Mean
            }
            other => other,
        },
    };
    let mut output = Output::new();
    let tokenize = |text: &str| model.tokenize_whole(text);
    each(
        &model,
        &texts,
        tokenize,
        pooling,
        |index, tokens, mut vector| {
            if args.normalize == Normalize::Euclidean && pooling != gust::Pooling::Rank {
                let width = match pooling {
                    gust::Pooling::None => vector.len() / tokens.max(1),
                    _ => vector.len(),
                };
                vector.chunks_mut(width.max(1)).for_each(normalize);
            }
            if args.json {
                let embedding = &vector;
                return output.json(&Embedded {
                    index,
                    tokens,
                    embedding,
                });
            }
            let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
            output.line(&numbers.join(" "))
        },
    )?;
    output.flush()
}

pub(super) fn rerank(args: &RerankArgs) -> Result<(), Failure> {
    let input = input::stdin_text()?;
    let documents = separate(&input, args.null);
    let model = open(&args.model, Scope::Full)?.model;
    if !ranks(&model, &args.query)? {
        let message = format!(
            "{}: expected a reranker, a model with a classifier for the pooling `rank`, found another",
            args.model.name()
        );
        let hint =
            "use a reranker such as bge-reranker; `gust embed` compares texts by their vectors";
        return Err(Failure::model(message).hint(hint));
    }
    let mut ranked = Vec::new();
    let tokenize = |document: &str| model.tokenize_pair(&args.query, document);
    each(
        &model,
        &documents,
        tokenize,
        gust::Pooling::Rank,
        |index, _, scores| {
            // The first label is the relevance.
            let score = scores.first().copied().unwrap_or(f32::NEG_INFINITY);
            let document = documents[index];
            ranked.push(Ranked {
                index,
                score,
                document,
            });
            Ok(())
        },
    )?;
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
    let mut output = Output::new();
    for one in ranked.iter().take(args.top.unwrap_or(usize::MAX)) {
        match args.json {
            true => output.json(one)?,
            false => {
                let document = printable(one.document);
                output.line(&format!("{}\t{}\t{document}", one.score, one.index))?;
            }
        }
    }
    output.flush()
}

/// Whether the model has a classifier. Its file need not ask for that pooling: llama.cpp's converter leaves it open.
fn ranks(model: &Model, query: &str) -> Result<bool, Failure> {
    if model.embedding_info()?.pooling == gust::Pooling::Rank {
        return Ok(true);
    }
    let tokens = model.tokenize_pair(query, "")?;
    let scores = model.embed(&tokens, Some(gust::Pooling::Rank), None);
    Ok(!matches!(scores, Err(gust::Error::InvalidArgument(wrong)) if wrong.subject == "pooling"))
}

/// Calls `then` with the number of each text, the number of its tokens, and its vector.
fn each(
    model: &Model,
    texts: &[&str],
    tokenize: impl Fn(&str) -> Result<Vec<u32>, gust::Error>,
    pooling: gust::Pooling,
    mut then: impl FnMut(usize, usize, Vec<f32>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let progress = Progress::start("embedding");
    let reporter = progress.reporter();
    let handle = CancelHandle::default();
    let _guard = signals::cancels(&handle);
    for (index, text) in texts.iter().enumerate() {
        let of_text = |error: gust::Error| {
            let is_long = matches!(error, gust::Error::PromptTooLong { .. });
            let failure = Failure::from(error).about(&format!("text {index}"));
            match is_long {
                true => failure.hint("split the text: the model reads no more at once"),
                false => failure,
            }
        };
        let tokens = tokenize(text).map_err(of_text)?;
        let vector = model.embed(&tokens, Some(pooling), Some(&handle));
        then(index, tokens.len(), vector.map_err(of_text)?)?;
        reporter.done(index as u64 + 1, texts.len() as u64);
    }
    Ok(())
}

/// The lines of a text, or what zero bytes end. What follows the last end counts if it is not empty.
fn separate(text: &str, null: bool) -> Vec<&str> {
    match null {
        false => text.lines().collect(),
        true if text.is_empty() => Vec::new(),
        true => text
            .strip_suffix('\0')
            .unwrap_or(text)
            .split('\0')
            .collect(),
    }
}

/// Scales a vector to length 1, unless it is zero.
fn normalize(vector: &mut [f32]) {
    let squares = vector.iter().map(|x| f64::from(*x).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if length > 0.0 {
        vector
            .iter_mut()
            .for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_lost() {
        assert_eq!(separate("a\n\nb", false), ["a", "", "b"]);
        assert_eq!(separate("a\r\nb\n", false), ["a", "b"]);
        assert_eq!(separate("a\nb\0\0c\0", true), ["a\nb", "", "c"]);
        assert_eq!(separate("", true), [""; 0]);
    }

    #[test]
    fn vectors_have_length_1() {
        let mut vector = [3.0, -4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, -0.8]);
        let mut zero = [0.0, 0.0];
        normalize(&mut zero);
        assert_eq!(zero, [0.0, 0.0]);
    }
}
