//! Metadata become plans, or errors that name the key.

use super::super::KvType;
use super::super::plan::{AttentionSpec, Mixer, Pairing, Pooling, RopeScaling};
use super::*;
use crate::error::Error;
use crate::gguf::{Array, TensorType, Value, Writer};

/// A plan from the keys of a small Llama. `changes` replaces some of them (`None` removes one).
fn plan(architecture: &str, changes: &[(&str, Option<Value>)]) -> Result<Plan> {
    let mut keys = vec![
        ("context_length", Some(Value::U32(128))),
        ("embedding_length", Some(Value::U32(64))),
        ("block_count", Some(Value::U32(2))),
        ("feed_forward_length", Some(Value::U32(96))),
        ("attention.head_count", Some(Value::U32(4))),
        ("attention.head_count_kv", Some(Value::U32(2))),
        ("attention.layer_norm_rms_epsilon", Some(Value::F32(1e-5))),
    ];
    keys.retain(|(key, _)| changes.iter().all(|(changed, _)| changed != key));
    let mut writer = Writer::default();
    writer.metadata("general.architecture", architecture);
    for (key, value) in keys.into_iter().chain(changes.iter().cloned()) {
        if let Some(value) = value {
            writer.metadata(&format!("{architecture}.{key}"), value);
        }
    }
    writer.tensor("token_embd.weight", TensorType::F32, &[64, 100]);
    Plan::from_gguf(&Gguf::read(&writer.header())?)
}

/// The attention of the first layer; all are alike.
fn attention(plan: &Plan) -> &AttentionSpec {
    let [Mixer::Attention(spec)] = &*plan.layers[0].mixers else {
        panic!("{plan:?}");
    };
    assert!(plan.layers.iter().all(|layer| *layer == plan.layers[0]));
    spec
}

#[track_caller]
fn assert_refused(key: &str, value: Option<Value>, word: &str) {
    let error = plan("llama", &[(key, value)]).expect_err(key);
    assert!(matches!(
        error,
        Error::InvalidModel(_) | Error::Unsupported(_)
    ));
    let message = error.to_string();
    assert!(message.contains(key) && message.contains(word), "{message}");
}

#[test]
fn defaults_are_ggufs() {
    let plan = plan("llama", &[("attention.head_count_kv", None)]).unwrap();
    let spec = attention(&plan);
    let rope = spec.rope.unwrap();
    assert_eq!((spec.n_kv_heads, spec.head_dim, rope.dims), (4, 16, 16));
    assert_eq!((rope.base, plan.n_vocab), (10_000.0, 100));
    assert_eq!(rope.scaling, RopeScaling::None);
    assert_eq!(plan.kv_bytes_per_token(KvType::F16), 2 * 2 * 4 * 16 * 2);
}

#[test]
fn an_architecture_decides_the_pairing() {
    for (name, pairing) in [
        ("llama", Pairing::Interleaved),
        ("qwen2", Pairing::Halves),
        ("qwen3", Pairing::Halves),
    ] {
        assert_eq!(
            attention(&plan(name, &[]).unwrap()).rope.unwrap().pairing,
            pairing
        );
    }
    let message = plan("no-such-thing", &[]).unwrap_err().to_string();
    assert!(
        message.contains("no-such-thing") && message.contains("qwen3"),
        "{message}"
    );
}

#[test]
fn numbers_that_make_no_model() {
    for key in [
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
    ] {
        assert_refused(key, None, "no such key");
        assert_refused(key, Some(Value::U32(0)), "found 0");
        assert_refused(key, Some(Value::U32(u32::MAX)), "4294967295");
        assert_refused(key, Some("many".into()), "string");
    }
    assert_refused("block_count", Some(Value::U32(513)), "512");
    assert_refused("attention.head_count", Some(Value::U32(3)), "multiple");
    // 2^16 heads of 2^16 dimensions: the product has 33 bits.
    let wide = Some(Value::U32(1 << 16));
    let changes = [
        ("attention.head_count", wide.clone()),
        ("attention.key_length", wide.clone()),
        ("attention.value_length", wide),
    ];
    assert!(plan("llama", &changes).is_err());
    assert_refused("rope.dimension_count", Some(Value::U32(15)), "even");
    assert_refused(
        "rope.dimension_count",
        Some(Value::U32(18)),
        "width of a head",
    );
    assert_refused("rope.freq_base", Some(Value::F32(-1.0)), "above 0");
    assert_refused(
        "attention.layer_norm_rms_epsilon",
        Some(Value::F32(f32::NAN)),
        "finite",
    );
}

#[test]
fn variants_that_are_computed_differently() {
    assert_refused("expert_count", Some(Value::U32(1 << 20)), "512");
    assert_refused("rope.scaling.type", Some("spiral".into()), "linear");
    let layers = |counts: [i32; 2]| Some(Value::Array(Array::i32s(counts)));
    assert_refused("block_count", layers([2, 4]), "all layers");
    let plan = plan("llama", &[("attention.head_count_kv", layers([2, 2]))]).unwrap();
    assert_eq!(attention(&plan).n_kv_heads, 2);
}

#[test]
fn a_decoder_can_be_made_an_encoder() {
    let causal = [("attention.causal", Some(Value::Bool(false)))];
    let encoder = plan("llama", &causal).unwrap();
    assert!(encoder.is_encoder() && !encoder.can_generate());
    let decoder = plan("llama", &[]).unwrap();
    assert!(!decoder.is_encoder() && decoder.can_generate());
    assert_refused("pooling_type", Some(Value::U32(5)), "rank");
}

/// llama.cpp writes its own -1 into files that it saves.
#[test]
fn an_unspecified_pooling_is_none() {
    let plan = plan("llama", &[("pooling_type", Some(Value::U32(u32::MAX)))]).unwrap();
    assert!(plan.pooling.kind == Pooling::None && plan.can_generate());
}

#[test]
fn scaling_is_read_from_metadata() {
    let linear = [
        ("rope.scaling.type", Some("linear".into())),
        ("rope.scaling.factor", Some(Value::F32(4.0))),
    ];
    assert_eq!(
        attention(&plan("llama", &linear).unwrap())
            .rope
            .unwrap()
            .scaling,
        RopeScaling::Linear(4.0)
    );
    let llama3 = [
        ("rope.scaling.type", Some("llama3".into())),
        ("rope.scaling.factor", Some(Value::F32(8.0))),
        (
            "rope.scaling.original_context_length",
            Some(Value::U32(8192)),
        ),
    ];
    let expected = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192.0,
    };
    assert_eq!(
        attention(&plan("llama", &llama3).unwrap())
            .rope
            .unwrap()
            .scaling,
        expected
    );
}

#[test]
fn experts_that_make_no_model() {
    let refused = |used: u32, n_ff: u32, word: &str| {
        let changes = [
            ("expert_count", Some(Value::U32(512))),
            ("expert_used_count", Some(Value::U32(used))),
            ("feed_forward_length", Some(Value::U32(n_ff))),
        ];
        let message = plan("llama", &changes).unwrap_err().to_string();
        let key = "llama.expert_used_count";
        assert!(message.contains(key) && message.contains(word), "{message}");
    };
    refused(0, 96, "from 1 to 512");
    refused(513, 96, "from 1 to 512");
    // 64 tokens of this would not fit into 32 bits.
    refused(512, 1 << 20, "2^20");
    let missing = [("expert_count", Some(Value::U32(8)))];
    assert!(plan("llama", &missing).is_err());
    assert!(plan("qwen3moe", &[]).is_err(), "no experts");
    assert!(plan("gemma", &[("expert_count", Some(Value::U32(8)))]).is_err());
}

/// A key that is there and 0 means the same as none: some writers write all keys.
#[test]
fn zero_is_absent() {
    let zeros = [
        ("expert_count", Some(Value::U32(0))),
        ("rope.scaling.type", Some("linear".into())),
        ("rope.scaling.factor", Some(Value::F32(0.0))),
        ("attention.sliding_window", Some(Value::U32(0))),
        ("final_logit_softcapping", Some(Value::F32(0.0))),
    ];
    for name in ["llama", "qwen3", "gemma3"] {
        assert_eq!(plan(name, &zeros).unwrap(), plan(name, &[]).unwrap());
    }
}

/// Lists are read for each layer, so that a long one takes its length times the layers.
#[test]
fn lists_are_no_longer_than_there_can_be_layers() {
    for key in [
        "attention.head_count",
        "attention.head_count_kv",
        "feed_forward_length",
    ] {
        let list = |n| Some(Value::Array(Array::i32s(vec![4; n])));
        assert!(plan("llama", &[(key, list(512))]).is_ok(), "{key}");
        assert_refused(key, list(513), "at most 512 elements");
    }
    let flags = Some(Value::Array(Array::i32s(vec![1; 600])));
    let window = ("attention.sliding_window", Some(Value::U32(7)));
    let key = "attention.sliding_window_pattern";
    let error = plan("gemma3", &[window, (key, flags)]).unwrap_err();
    assert!(error.to_string().contains("at most 512"), "{error}");
}
