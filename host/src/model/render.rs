//! Conversations to tokens, with an engine that can tell the template's text from all other text, and with one that
//! cannot.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Model;
use super::guard::{collect, reserved};
use crate::runtime::unix_time;
use crate::{ChatMessage, ChatOptions, Error, Mismatch, Prompt, RenderOptions, TokenizeOptions};

impl Model {
    /// Renders a conversation with the model's chat template, and tokenizes it. Feed the tokens as they are.
    ///
    /// Only the template can write control tokens: their names in messages, roles, tools and variables are text. A
    /// component that does not export `gust:llm/chat` cannot tell who wrote what; with one, texts with such names are
    /// refused.
    ///
    /// ```
    /// use gust::{ChatMessage, Engine, LoadOptions, RenderOptions};
    ///
    /// let model = Engine::new()?.load(gust::SHIPPED_MODEL, &LoadOptions::default())?;
    /// let template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}";
    /// let options = RenderOptions { template: Some(template.into()), ..Default::default() };
    /// let prompt = model.render(&[ChatMessage::new("user", "What is <s>?")], &options)?;
    /// assert_eq!(prompt.text, "<s>user: What is <s>?</s>");
    /// let bos = model.info().bos.expect("a token");
    /// assert_eq!(prompt.tokens.iter().filter(|id| **id == bos).count(), 1);
    /// # Ok::<(), gust::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no template, if it rejects the conversation, and if it leaves out a
    /// message because it does not know its role.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        options: &RenderOptions,
    ) -> Result<Prompt, Error> {
        let group = &self.0.group;
        let answer = group.ask(&self.0.handle, |exports, store, model| {
            let Some(chat) = exports.chat else {
                return Ok(Ok(None));
            };
            let prompt = chat.render(store, model, messages, options)?;
            Ok(prompt.map(Some))
        })?;
        answer.map_or_else(|| self.render_guarded(messages, options), Ok)
    }

    /// Renders, refuses what could be taken for control tokens, and tokenizes.
    fn render_guarded(
        &self,
        messages: &[ChatMessage],
        options: &RenderOptions,
    ) -> Result<Prompt, Error> {
        let mut variables = match &options.variables {
            Some(text) => object("variables", text)?,
            None => Map::new(),
        };
        if let Some((expected, found)) = reserved(&variables) {
            return Err(wrong("variables", &expected, found));
        }
        if let Some(tools) = &options.tools {
            let tools = serde_json::from_str(tools);
            let tools: Vec<Value> = tools.map_err(|error| wrong("tools", "a JSON array", error))?;
            variables.insert("tools".to_owned(), tools.into());
        }
        let mut objects = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let mut object_of = Map::new();
            object_of.insert("role".to_owned(), message.role.as_str().into());
            object_of.insert("content".to_owned(), message.content.as_str().into());
            if let Some(fields) = &message.fields {
                object_of.extend(object(&format!("messages[{at}].fields"), fields)?);
            }
            objects.push(Value::Object(object_of));
        }
        let mut texts = String::new();
        let outside = [Value::from(variables.clone()), Value::from(objects.clone())];
        outside.iter().for_each(|value| collect(value, &mut texts));
        self.refuse_control_tokens(&texts)?;

        if messages.iter().any(|message| message.fields.is_some()) {
            variables.insert("messages".to_owned(), objects.into());
        }
        let now = unix_time(options.now.unwrap_or_else(SystemTime::now));
        let time = variables.entry("unix_time");
        time.or_insert(now.into());
        let chat_options = ChatOptions {
            add_generation_prompt: options.add_generation_prompt,
            template: options.template.clone(),
            variables: Some(Value::Object(variables).to_string()),
        };
        let text = self.render_chat(messages, &chat_options)?;
        // Many templates write the begin-of-sequence token themselves; it must not appear twice.
        let tokens = self.tokenize(&text, &parsing(false))?;
        let tokens = match self.info().bos {
            Some(bos) if tokens.first() != Some(&bos) => self.tokenize(&text, &parsing(true))?,
            _ => tokens,
        };
        Ok(Prompt { tokens, text })
    }

    fn refuse_control_tokens(&self, texts: &str) -> Result<(), Error> {
        let plain = TokenizeOptions {
            add_special: Some(false),
            parse_special: Some(false),
        };
        if self.tokenize(texts, &plain)? == self.tokenize(texts, &parsing(false))? {
            return Ok(());
        }
        let expected = "text without the names of control tokens, because this engine cannot tell who wrote them";
        Err(wrong("messages", expected, "the name of a control token"))
    }
}

/// Options for text with control tokens.
fn parsing(add_special: bool) -> TokenizeOptions {
    TokenizeOptions {
        add_special: Some(add_special),
        parse_special: Some(true),
    }
}

fn object(subject: &str, text: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(text).map_err(|error| wrong(subject, "a JSON object", error))
}

fn wrong(subject: &str, expected: &str, found: impl std::fmt::Display) -> Error {
    Error::InvalidArgument(Mismatch {
        subject: subject.to_owned(),
        expected: expected.to_owned(),
        found: found.to_string(),
    })
}
