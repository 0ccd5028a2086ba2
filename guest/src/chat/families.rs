//! Templates by name, for files that have none.
//!
//! The names are those of llama.cpp (`--chat-template`), and so is what is written for plain conversations, byte for byte
//! except for white space beyond ASCII. Begin-of-sequence is left to the tokenizer. [`assumed`] is gust's own: it finds the family of a
//! file without a template by what its vocabulary and its architecture say.

use crate::error::{Result, invalid_argument};
use crate::gguf::Metadata;
use crate::tokenizer::{TokenType, Tokenizer};

/// A name that the caller may give instead of a template.
const TEMPLATES: &[(&str, &str)] = &[
    ("bailing", BAILING),
    ("bailing-think", BAILING_THINK),
    (
        "bailing2",
        "{% if not messages or messages[0].role != 'system' %}\
         <role>SYSTEM</role>detailed thinking off<|role_end|>{% endif %}\
         {% for m in messages %}<role>{{ 'HUMAN' if m.role == 'user' else m.role|upper }}</role>\
         {{ m.content }}<|role_end|>{% endfor %}\
         {% if add_generation_prompt %}<role>ASSISTANT</role>{% endif %}",
    ),
    (
        "chatglm3",
        "[gMASK]sop{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}\n {{ m.content }}{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>{% endif %}",
    ),
    (
        "chatglm4",
        "[gMASK]<sop>{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}\n{{ m.content }}{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        "chatml",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    ),
    (
        "command-r",
        "{% set names = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'} %}\
         {% for m in messages if m.role in names %}\
         {{ '<|START_OF_TURN_TOKEN|><|' ~ names[m.role] ~ '_TOKEN|>' }}{{ m.content|trim }}<|END_OF_TURN_TOKEN|>\
         {% endfor %}\
         {% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}",
    ),
    (
        "deepseek",
        "{% for m in messages %}\
         {% if m.role == 'system' %}{{ m.content }}\
         {% elif m.role == 'user' %}### Instruction:\n{{ m.content }}\n\
         {% elif m.role == 'assistant' %}### Response:\n{{ m.content }}\n<|EOT|>\n\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}### Response:\n{% endif %}",
    ),
    (
        "deepseek-ocr",
        "{% for m in messages %}{{ m.content }}{% endfor %}",
    ),
    (
        "deepseek2",
        "{% for m in messages %}\
         {% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}User: {{ m.content }}\n\n\
         {% elif m.role == 'assistant' %}Assistant: {{ m.content }}<｜end▁of▁sentence｜>\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}Assistant:{% endif %}",
    ),
    (
        "deepseek3",
        "{% for m in messages %}\
         {% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}<｜User｜>{{ m.content }}\
         {% elif m.role == 'assistant' %}<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}<｜Assistant｜>{% endif %}",
    ),
    (
        "exaone-moe",
        "{% for m in messages if m.role in ['system', 'user', 'assistant', 'tool'] %}\
         {{ '<|' ~ m.role ~ '|>' }}\n{{ m.content|trim }}<|endofturn|>\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        "exaone3",
        "{% for m in messages if m.role in ['system', 'user', 'assistant'] %}\
         {{ '[|' ~ m.role ~ '|]' }}{{ m.content|trim }}{% if m.role != 'user' %}[|endofturn|]{% endif %}\
         {{ '\n' }}{% endfor %}\
         {% if add_generation_prompt %}[|assistant|]{% endif %}",
    ),
    (
        "exaone4",
        "{% for m in messages if m.role in ['system', 'user', 'assistant', 'tool'] %}\
         {{ '[|' ~ m.role ~ '|]' }}{{ m.content|trim }}{% if m.role != 'user' %}[|endofturn|]{% endif %}\
         {{ '\n' }}{% endfor %}\
         {% if add_generation_prompt %}[|assistant|]{% endif %}",
    ),
    (
        "falcon3",
        "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}\n{{ m.content }}\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        // There is no system turn: its text stands in front of the user's.
        "gemma",
        "{% set ns = namespace(system='') %}{% for m in messages %}\
         {% if m.role == 'system' %}{% set ns.system = ns.system ~ m.content|trim %}{% else %}\
         <start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n\
         {% if ns.system and m.role != 'assistant' %}{{ ns.system }}\n\n{% set ns.system = '' %}{% endif %}\
         {{ m.content|trim }}<end_of_turn>\n{% endif %}{% endfor %}\
         {% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    ),
    (
        "gigachat",
        "<s>{% for m in messages %}\
         {% if m.role == 'system' and loop.first %}{{ m.content }}<|message_sep|>\
         {% elif m.role == 'user' %}user<|role_sep|>{{ m.content }}<|message_sep|>\
         available functions<|role_sep|>[]<|message_sep|>\
         {% elif m.role == 'assistant' %}assistant<|role_sep|>{{ m.content }}<|message_sep|>\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}assistant<|role_sep|>{% endif %}",
    ),
    (
        "glmedge",
        "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}\n{{ m.content }}{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>{% endif %}",
    ),
    (
        "gpt-oss",
        "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}\
         {{ '<|return|>' if m.role == 'assistant' else '<|end|>' }}{% endfor %}\
         {% if add_generation_prompt %}<|start|>assistant{% endif %}",
    ),
    (
        "granite",
        "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>\
         {% if m.role == 'assistant_tool_call' %}<|tool_call|>{% endif %}\
         {{ m.content }}<|end_of_text|>\n{% endfor %}\
         {% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}",
    ),
    ("granite-4.0", GRANITE_4),
    ("granite-4.1", GRANITE_4),
    (
        "grok-2",
        "{% for m in messages %}\
         {% if m.role == 'system' %}System: {{ m.content|trim }}<|separator|>\n\n\
         {% elif m.role == 'user' %}Human: {{ m.content|trim }}<|separator|>\n\n\
         {% elif m.role == 'assistant' %}Assistant: {{ m.content }}<|separator|>\n\n\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}Assistant:{% endif %}",
    ),
    (
        "hunyuan-dense",
        "{% for m in messages %}\
         {% if m.role == 'system' and loop.first %}{{ m.content }}<｜hy_place▁holder▁no▁3｜>\
         {% elif m.role == 'assistant' %}<｜hy_Assistant｜>{{ m.content }}<｜hy_place▁holder▁no▁2｜>\
         {% elif m.role == 'user' %}<｜hy_User｜>{{ m.content }}<｜hy_Assistant｜>\
         {% endif %}{% endfor %}",
    ),
    (
        "hunyuan-moe",
        "{% for m in messages %}\
         {% if m.role == 'system' %}<|startoftext|>{{ m.content }}<|extra_4|>\
         {% elif m.role == 'assistant' %}{{ m.content }}<|eos|>\
         {% else %}<|startoftext|>{{ m.content }}<|extra_0|>\
         {% endif %}{% endfor %}",
    ),
    (
        "hunyuan-vl",
        "<｜hy_begin▁of▁sentence｜>{% for m in messages %}\
         {% if m.role == 'system' and loop.first %}{{ m.content }}<｜hy_place▁holder▁no▁3｜>\
         {% elif m.role == 'user' %}{{ m.content }}<｜hy_User｜>\
         {% elif m.role == 'assistant' %}{{ m.content }}<｜hy_Assistant｜>\
         {% endif %}{% endfor %}",
    ),
    (
        "kimi-k2",
        "{% set heads = {'system': 'system', 'user': 'user', 'assistant': 'assistant', 'tool': 'system'} %}\
         {% for m in messages %}\
         {% if m.role in heads %}{{ '<|im_' ~ heads[m.role] ~ '|>' ~ m.role }}<|im_middle|>{% endif %}\
         {{ m.content }}<|im_end|>{% endfor %}\
         {% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}",
    ),
    (
        "llama2",
        "[INST] {% for m in messages %}\
         {% if not loop.first and loop.previtem.role not in ['system', 'user'] %}[INST] {% endif %}\
         {% if m.role == 'system' %}{{ m.content }}\n\
         {% elif m.role == 'user' %}{{ m.content }} [/INST]\
         {% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "llama2-sys",
        "[INST] {% for m in messages %}\
         {% if not loop.first and loop.previtem.role not in ['system', 'user'] %}[INST] {% endif %}\
         {% if m.role == 'system' %}<<SYS>>\n{{ m.content }}\n<</SYS>>\n\n\
         {% elif m.role == 'user' %}{{ m.content }} [/INST]\
         {% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "llama2-sys-bos",
        "[INST] {% for m in messages %}\
         {% if not loop.first and loop.previtem.role not in ['system', 'user'] %}<s>[INST] {% endif %}\
         {% if m.role == 'system' %}<<SYS>>\n{{ m.content }}\n<</SYS>>\n\n\
         {% elif m.role == 'user' %}{{ m.content }} [/INST]\
         {% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "llama2-sys-strip",
        "[INST] {% for m in messages %}\
         {% if not loop.first and loop.previtem.role not in ['system', 'user'] %}[INST] {% endif %}\
         {% if m.role == 'system' %}<<SYS>>\n{{ m.content|trim }}\n<</SYS>>\n\n\
         {% elif m.role == 'user' %}{{ m.content|trim }} [/INST]\
         {% else %}{{ m.content|trim }}</s>{% endif %}{% endfor %}",
    ),
    (
        "llama3",
        "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n\
         {{ m.content|trim }}<|eot_id|>{% endfor %}\
         {% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    ),
    (
        "llama4",
        "{% for m in messages %}<|header_start|>{{ m.role }}<|header_end|>\n\n\
         {{ m.content|trim }}<|eot|>{% endfor %}\
         {% if add_generation_prompt %}<|header_start|>assistant<|header_end|>\n\n{% endif %}",
    ),
    (
        "megrez",
        "{% for m in messages %}<|role_start|>{{ m.role }}<|role_end|>{{ m.content }}<|turn_end|>{% endfor %}\
         {% if add_generation_prompt %}<|role_start|>assistant<|role_end|>{% endif %}",
    ),
    (
        "minicpm",
        "{% for m in messages %}\
         {% if m.role == 'user' %}<用户>{{ m.content|trim }}<AI>{% else %}{{ m.content|trim }}{% endif %}{% endfor %}",
    ),
    (
        "mistral-v1",
        "{% for m in messages %}\
         {% if loop.first or loop.previtem.role not in ['system', 'user'] %} [INST] {% endif %}\
         {% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}{{ m.content }} [/INST]\
         {% else %} {{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "mistral-v3",
        "{% for m in messages %}\
         {% if loop.first or loop.previtem.role not in ['system', 'user'] %}[INST] {% endif %}\
         {% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}{{ m.content }}[/INST]\
         {% else %} {{ m.content|trim }}</s>{% endif %}{% endfor %}",
    ),
    (
        "mistral-v3-tekken",
        "{% for m in messages %}\
         {% if loop.first or loop.previtem.role not in ['system', 'user'] %}[INST]{% endif %}\
         {% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}{{ m.content }}[/INST]\
         {% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "mistral-v7",
        "{% for m in messages %}\
         {% if m.role == 'system' %}[SYSTEM_PROMPT] {{ m.content }}[/SYSTEM_PROMPT]\
         {% elif m.role == 'user' %}[INST] {{ m.content }}[/INST]\
         {% else %} {{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "mistral-v7-tekken",
        "{% for m in messages %}\
         {% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]\
         {% elif m.role == 'user' %}[INST]{{ m.content }}[/INST]\
         {% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "monarch",
        "{% for m in messages %}{% if not loop.first %}<s>{% endif %}{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}\
         {% if add_generation_prompt %}<s>assistant\n{% endif %}",
    ),
    (
        "openchat",
        "{% for m in messages %}\
         {% if m.role != 'system' %}GPT4 Correct {{ m.role[0]|upper }}{{ m.role[1:] }}: {% endif %}\
         {{ m.content }}<|end_of_turn|>{% endfor %}\
         {% if add_generation_prompt %}GPT4 Correct Assistant:{% endif %}",
    ),
    (
        "orion",
        "{% set ns = namespace(system='') %}{% for m in messages %}\
         {% if m.role == 'system' %}{% set ns.system = ns.system ~ m.content %}\
         {% elif m.role == 'user' %}Human: \
         {% if ns.system %}{{ ns.system }}\n\n{% set ns.system = '' %}{% endif %}\
         {{ m.content }}\n\nAssistant: </s>\
         {% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    (
        "pangu-embedded",
        "{% set names = {'system': '系统', 'user': '用户', 'assistant': '助手', 'tool': '工具', 'function': '方法'} %}\
         {% for m in messages %}\
         {% if loop.first and m.role != 'system' %}[unused9]系统：[unused10]{% endif %}\
         {% if m.role in names %}[unused9]{{ names[m.role] }}：{{ m.content }}[unused10]{% endif %}{% endfor %}\
         {% if add_generation_prompt %}[unused9]助手：{% endif %}",
    ),
    (
        "phi3",
        "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}\n{{ m.content }}<|end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        "phi4",
        "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}",
    ),
    (
        "rwkv-world",
        "{% set names = {'system': 'System', 'user': 'User', 'assistant': 'Assistant'} %}\
         {% for m in messages if m.role in names %}{{ names[m.role] }}: {{ m.content|trim }}\n\n{% endfor %}\
         {% if messages and messages[-1].role == 'user' %}Assistant:{% endif %}",
    ),
    (
        "seed_oss",
        "{% for m in messages %}<seed:bos>{{ m.role }}\n\
         {{ m.content|trim if m.role == 'assistant' else m.content }}<seed:eos>{% endfor %}\
         {% if add_generation_prompt %}<seed:bos>assistant\n{% endif %}",
    ),
    (
        "smolvlm",
        "<|im_start|>{% for m in messages %}\
         {% if m.role == 'system' %}{{ m.content }}\n\n\
         {% else %}{{ 'User' if m.role == 'user' else 'Assistant' }}: {{ m.content }}<end_of_utterance>\n\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}Assistant:{% endif %}",
    ),
    (
        "solar-open",
        "{% for m in messages %}<|begin|>{{ m.role }}<|content|>{{ m.content }}<|end|>{% endfor %}\
         {% if add_generation_prompt %}<|begin|>assistant{% endif %}",
    ),
    (
        "vicuna",
        "{% for m in messages %}\
         {% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}USER: {{ m.content }}\n\
         {% elif m.role == 'assistant' %}ASSISTANT: {{ m.content }}</s>\n\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}ASSISTANT:{% endif %}",
    ),
    (
        "vicuna-orca",
        "{% for m in messages %}\
         {% if m.role == 'system' %}SYSTEM: {{ m.content }}\n\
         {% elif m.role == 'user' %}USER: {{ m.content }}\n\
         {% elif m.role == 'assistant' %}ASSISTANT: {{ m.content }}</s>\n\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}ASSISTANT:{% endif %}",
    ),
    (
        "yandex",
        "{% for m in messages %}\
         {% if m.role == 'user' %} Пользователь: {{ m.content }}\n\n\
         {% elif m.role == 'assistant' %} Ассистент: {{ m.content }}\n\n\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %} Ассистент:[SEP]{% endif %}",
    ),
    (
        "zephyr",
        "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}\n{{ m.content }}<|endoftext|>\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
];

const BAILING: &str = "{% for m in messages %}\
    <role>{{ 'HUMAN' if m.role == 'user' else m.role|upper }}</role>{{ m.content }}{% endfor %}\
    {% if add_generation_prompt %}<role>ASSISTANT</role>{% endif %}";

const BAILING_THINK: &str = "{% for m in messages %}\
    <role>{{ 'HUMAN' if m.role == 'user' else m.role|upper }}</role>{{ m.content }}{% endfor %}\
    {% if add_generation_prompt %}<role>ASSISTANT</role><think>{% endif %}";

const GRANITE_4: &str = "{% for m in messages %}\
    {% if m.role == 'assistant_tool_call' %}<|start_of_role|>assistant<|end_of_role|><|tool_call|>\
    {% else %}<|start_of_role|>{{ m.role }}<|end_of_role|>{% endif %}\
    {{ m.content }}<|end_of_text|>\n{% endfor %}\
    {% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}";

/// What tells the family of a file without a template: texts that all are tokens of their own, and the value of a key of
/// the file.
type Signs = (
    &'static str,
    &'static [&'static str],
    Option<(&'static str, &'static str)>,
);

const ARCHITECTURE: &str = "general.architecture";
const BYTE_LEVEL: Option<(&str, &str)> = Some(("tokenizer.ggml.model", "gpt2"));

/// The first line that fits counts, so what wants more of the file stands first.
const SIGNS: &[Signs] = &[
    ("gemma", &["<start_of_turn>", "<end_of_turn>"], None),
    (
        "llama3",
        &["<|start_header_id|>", "<|end_header_id|>"],
        None,
    ),
    ("llama4", &["<|header_start|>", "<|header_end|>"], None),
    ("kimi-k2", &["<|im_assistant|>", "<|im_middle|>"], None),
    ("phi4", &["<|im_start|>", "<|im_sep|>"], None),
    ("smolvlm", &["<|im_start|>", "<end_of_utterance>"], None),
    ("chatml", &["<|im_start|>", "<|im_end|>"], None),
    ("granite", &["<|start_of_role|>", "<|end_of_role|>"], None),
    (
        "gpt-oss",
        &["<|start|>", "<|channel|>", "<|message|>"],
        None,
    ),
    ("solar-open", &["<|begin|>", "<|content|>", "<|end|>"], None),
    ("exaone-moe", &["<|assistant|>", "<|endofturn|>"], None),
    ("phi3", &["<|assistant|>", "<|end|>"], None),
    ("chatglm4", &["[gMASK]", "<sop>", "<|assistant|>"], None),
    ("chatglm3", &["[gMASK]", "sop", "<|assistant|>"], None),
    (
        "command-r",
        &["<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"],
        None,
    ),
    ("deepseek3", &["<｜User｜>", "<｜Assistant｜>"], None),
    (
        "hunyuan-vl",
        &["<｜hy_Assistant｜>"],
        Some((ARCHITECTURE, "hunyuan_vl")),
    ),
    (
        "hunyuan-dense",
        &["<｜hy_Assistant｜>", "<｜hy_User｜>"],
        None,
    ),
    (
        "exaone4",
        &["[|assistant|]", "[|endofturn|]"],
        Some((ARCHITECTURE, "exaone4")),
    ),
    ("exaone3", &["[|assistant|]", "[|endofturn|]"], None),
    ("seed_oss", &["<seed:bos>", "<seed:eos>"], None),
    ("megrez", &["<|role_start|>", "<|turn_end|>"], None),
    ("gigachat", &["<|role_sep|>", "<|message_sep|>"], None),
    ("bailing2", &["<role>", "</role>", "<|role_end|>"], None),
    ("bailing", &["<role>", "</role>"], None),
    (
        "mistral-v7-tekken",
        &["[SYSTEM_PROMPT]", "[INST]"],
        BYTE_LEVEL,
    ),
    ("mistral-v7", &["[SYSTEM_PROMPT]", "[INST]"], None),
    (
        "mistral-v3-tekken",
        &["[AVAILABLE_TOOLS]", "[INST]"],
        BYTE_LEVEL,
    ),
    ("mistral-v3", &["[AVAILABLE_TOOLS]", "[INST]"], None),
    ("openchat", &["<|end_of_turn|>"], None),
    (
        "hunyuan-moe",
        &["<|extra_0|>", "<|extra_4|>"],
        Some((ARCHITECTURE, "hunyuan-moe")),
    ),
    ("rwkv-world", &[], Some((ARCHITECTURE, "rwkv7"))),
    ("orion", &[], Some((ARCHITECTURE, "orion"))),
    ("grok-2", &[], Some((ARCHITECTURE, "grok"))),
    (
        "pangu-embedded",
        &[],
        Some((ARCHITECTURE, "pangu-embedded")),
    ),
    ("deepseek2", &[], Some((ARCHITECTURE, "deepseek2"))),
    ("minicpm", &[], Some((ARCHITECTURE, "minicpm"))),
];

/// The template with this name.
pub fn template(name: &str) -> Option<&'static str> {
    let found = TEMPLATES.iter().find(|(of, _)| *of == name);
    found.map(|(_, template)| *template)
}

/// The template that a caller means who gives a name instead of a template.
///
/// # Errors
/// `invalid-argument` for a single word that is no name: a template that writes nothing of the conversation.
pub fn named(text: &str) -> Result<Option<&'static str>> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "-_./\\:".contains(c);
    match template(text) {
        None if !text.is_empty() && text.chars().all(in_word) => {
            let names: Vec<_> = TEMPLATES.iter().map(|(name, _)| *name).collect();
            let expected = format!(
                "a Jinja2 template, or one of the names {}",
                names.join(", ")
            );
            Err(invalid_argument(
                "chat template",
                expected,
                format!("`{text}`"),
            ))
        }
        template => Ok(template),
    }
}

/// The family of a file without a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumed {
    /// The template's name.
    pub name: &'static str,
    /// What it was told by, in words.
    pub reason: String,
}

/// Finds the family of a model by the tokens that it has for turns, and by its metadata. None if these do not tell.
pub fn assumed(tokenizer: &Tokenizer, metadata: &Metadata) -> Option<Assumed> {
    let is_token = |text: &&str| {
        let kind = tokenizer
            .token_named(text)
            .map(|id| tokenizer.token_type(id));
        matches!(kind, Some(TokenType::Control | TokenType::UserDefined))
    };
    let is_set = |(key, value): (&str, &str)| metadata.str(key).is_ok_and(|own| own == Some(value));
    let fits = |(_, tokens, key): &&Signs| tokens.iter().all(is_token) && key.is_none_or(is_set);
    let (name, tokens, key) = SIGNS.iter().find(fits)?;
    let reason = match (tokens.first(), key) {
        (Some(token), _) => format!("the vocabulary has `{token}`"),
        (None, Some((key, value))) => format!("`{key}` is `{value}`"),
        (None, None) => String::new(),
    };
    Some(Assumed { name, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_signs_have_templates() {
        assert!(TEMPLATES.is_sorted_by(|(a, _), (b, _)| a < b));
        for (name, tokens, key) in SIGNS {
            assert!(template(name).is_some(), "{name}");
            assert!(!tokens.is_empty() || key.is_some(), "{name}");
        }
        assert!(matches!(named("phi3"), Ok(Some(text)) if text.contains("<|end|>")));
        assert_eq!(named("{{ messages }}"), Ok(None));
        let error = named("phi5").expect_err("no name").to_string();
        assert!(
            error.contains("or one of the names bailing, ") && error.ends_with("found `phi5`"),
            "{error}"
        );
    }
}
