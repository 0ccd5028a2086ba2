//! A model that repeats one text over and over: small, exact, and made here.
//!
//! Its layer adds nothing (all weights are 0), so the residual stream is the last token's embedding, a row of random
//! signs. The output row of each token is the embedding of the token before it in the text: its product with itself is
//! the dimension, and with any other row about the square root of it, so the most probable next token is the next byte
//! of the text. All tokens that are not in the text share one embedding, after which the text begins. Every byte is a
//! separate token, so a character of several bytes always spans several tokens.

use std::path::Path;

use gust_engine::gguf::{Array, TensorType, Writer};
use tempfile::NamedTempFile;

use super::random::Random;

/// F.
const N_FF: usize = 32;
/// `<unk>`, `<s>`, `</s>`, the 256 bytes, a space as SentencePiece writes it, and padding up to a multiple of 32.
const N_VOCAB: usize = 288;
const BOS: usize = 1;
const EOS: usize = 2;
const FIRST_BYTE: usize = 3;
/// With signs as embeddings, the right token's logit is this times E, and all others stay far below.
const SCALE: f32 = 0.25;

/// What a parrot says.
#[derive(Debug, Clone)]
pub(crate) struct Parrot {
    /// The text. No byte may occur in it twice, so that the byte after each one is certain.
    pub(crate) text: String,
    /// Whether it ends after the text, or starts over.
    pub(crate) ends: bool,
    /// Whether its file asks for an end-of-sequence behind each text.
    pub(crate) adds_eos: bool,
    /// The context length in tokens.
    pub(crate) context_length: u32,
    /// E, a multiple of 32 and wide enough that no two rows of random signs look alike.
    pub(crate) width: usize,
    /// A chat template, if it has one.
    pub(crate) chat_template: Option<String>,
    /// Control tokens that it has besides those for the beginning and the end of a text.
    pub(crate) control: Vec<&'static str>,
    /// Tokens of longer texts that it says before its text, and whether they are control tokens.
    pub(crate) words: Vec<(&'static str, bool)>,
}

impl Parrot {
    /// A model that repeats `text`.
    pub(crate) fn new(text: &str) -> Self {
        Parrot {
            text: text.to_owned(),
            ends: false,
            adds_eos: false,
            context_length: 512,
            width: 128,
            chat_template: None,
            control: Vec::new(),
            words: Vec::new(),
        }
    }

    /// The model as a file, which is deleted when dropped.
    ///
    /// # Panics
    ///
    /// If a byte occurs twice in the text, or the file cannot be written.
    pub(crate) fn file(&self) -> ParrotFile {
        let file = tempfile::Builder::new()
            .suffix(".gguf")
            .tempfile()
            .unwrap_or_else(|error| panic!("{error}"));
        std::fs::write(file.path(), self.bytes()).unwrap_or_else(|error| panic!("{error}"));
        ParrotFile(file)
    }

    /// The model's bytes.
    ///
    /// # Panics
    ///
    /// If a byte occurs twice in the text.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.metadata(&mut writer);
        let width = self.width;
        let embedding = self.embedding();
        let output = self.output(&embedding);
        let zeros = vec![0.0; width * width];
        let ones = vec![1.0; width];
        let (e, f, v) = (width as u64, N_FF as u64, N_VOCAB as u64);
        let tensors: [(&str, &[u64], &[f32]); 12] = [
            ("token_embd.weight", &[e, v], &embedding),
            ("blk.0.attn_norm.weight", &[e], &ones),
            ("blk.0.attn_q.weight", &[e, e], &zeros),
            ("blk.0.attn_k.weight", &[e, e], &zeros),
            ("blk.0.attn_v.weight", &[e, e], &zeros),
            ("blk.0.attn_output.weight", &[e, e], &zeros),
            ("blk.0.ffn_norm.weight", &[e], &ones),
            ("blk.0.ffn_gate.weight", &[e, f], &zeros[..width * N_FF]),
            ("blk.0.ffn_up.weight", &[e, f], &zeros[..width * N_FF]),
            ("blk.0.ffn_down.weight", &[f, e], &zeros[..width * N_FF]),
            ("output_norm.weight", &[e], &ones),
            ("output.weight", &[e, v], &output),
        ];
        for (name, shape, _) in tensors {
            writer.tensor(name, TensorType::F32, shape);
        }
        let mut bytes = writer.header();
        for (_, _, data) in tensors {
            bytes.extend(data.iter().flat_map(|number| number.to_le_bytes()));
            bytes.resize(bytes.len().next_multiple_of(Writer::ALIGNMENT as usize), 0);
        }
        bytes
    }

    fn metadata(&self, writer: &mut Writer) {
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
        tokens.extend((0..=255).map(|byte: u8| format!("<0x{byte:02X}>")));
        tokens.push("▁".to_owned());
        tokens.extend(self.control.iter().map(|name| name.to_string()));
        tokens.extend(self.words.iter().map(|(word, _)| word.to_string()));
        tokens.extend((tokens.len()..N_VOCAB).map(|id| format!("<unused{id}>")));
        // GGUF's numbers: unknown, control, control, bytes, normal, control, control or user-defined, unused.
        let mut kinds = vec![2, 3, 3];
        kinds.resize(FIRST_BYTE + 256, 6);
        kinds.push(1);
        kinds.resize(kinds.len() + self.control.len(), 3);
        kinds.extend(
            self.words
                .iter()
                .map(|(_, control)| if *control { 3 } else { 4 }),
        );
        kinds.resize(N_VOCAB, 5);
        writer
            .metadata("general.architecture", "llama")
            .metadata("general.name", "parrot")
            .metadata("llama.block_count", 1)
            .metadata("llama.context_length", self.context_length)
            .metadata("llama.embedding_length", self.width as u32)
            .metadata("llama.feed_forward_length", N_FF as u32)
            .metadata("llama.attention.head_count", 4)
            .metadata("llama.attention.head_count_kv", 4)
            .metadata("llama.attention.layer_norm_rms_epsilon", 1e-5)
            .metadata("llama.rope.dimension_count", self.width as u32 / 4)
            .metadata("tokenizer.ggml.model", "llama")
            .metadata("tokenizer.ggml.pre", "default")
            .metadata("tokenizer.ggml.tokens", Array::strings(tokens))
            .metadata("tokenizer.ggml.scores", Array::f32s([0.0; N_VOCAB]))
            .metadata("tokenizer.ggml.token_type", Array::i32s(kinds))
            .metadata("tokenizer.ggml.bos_token_id", BOS as u32)
            .metadata("tokenizer.ggml.eos_token_id", EOS as u32)
            .metadata("tokenizer.ggml.unknown_token_id", 0)
            .metadata("tokenizer.ggml.add_bos_token", true)
            .metadata("tokenizer.ggml.add_eos_token", self.adds_eos)
            .metadata("tokenizer.ggml.add_space_prefix", false);
        if let Some(template) = &self.chat_template {
            writer.metadata("tokenizer.chat_template", template.as_str());
        }
    }

    /// `[V, E]`, each 1 or -1.
    fn embedding(&self) -> Vec<f32> {
        let width = self.width;
        let mut random = Random::new(0x5eed);
        let mut row = || -> Vec<f32> {
            let sign = |_| if random.any() >> 63 == 0 { 1.0 } else { -1.0 };
            (0..width).map(sign).collect()
        };
        let other = row();
        let mut embedding = other.repeat(N_VOCAB);
        for token in self.said() {
            embedding[token * width..][..width].copy_from_slice(&row());
        }
        embedding
    }

    /// `[V, E]`: for each token, the one that it follows.
    fn output(&self, embedding: &[f32]) -> Vec<f32> {
        let width = self.width;
        let mut output = vec![0.0; N_VOCAB * width];
        let mut follows = |next: usize, last: usize| {
            let row = &embedding[last * width..][..width];
            for (to, from) in output[next * width..][..width].iter_mut().zip(row) {
                *to += from * SCALE;
            }
        };
        let said = self.said();
        for (index, &token) in said.iter().enumerate() {
            assert!(
                !said[..index].contains(&token),
                "token {token} occurs twice in {:?}",
                self.text
            );
            match said.get(index + 1) {
                Some(&next) => follows(next, token),
                None if self.ends => follows(EOS, token),
                None => follows(said[0], token),
            }
        }
        follows(said[0], BOS);
        output
    }

    /// The tokens that it says.
    fn said(&self) -> Vec<usize> {
        let first = FIRST_BYTE + 257 + self.control.len();
        let words = first..first + self.words.len();
        words.chain(self.text.bytes().map(token)).collect()
    }
}

fn token(byte: u8) -> usize {
    FIRST_BYTE + usize::from(byte)
}

/// A parrot's file.
#[derive(Debug)]
pub(crate) struct ParrotFile(NamedTempFile);

impl AsRef<Path> for ParrotFile {
    fn as_ref(&self) -> &Path {
        self.0.path()
    }
}
