//! Who wrote each character of a prompt: the template, or someone outside it.
//!
//! A template writes control tokens by name, and so could anyone whose text reaches the prompt: a user, the author of a
//! tool, a role, an earlier answer. Only the template's own text may become control tokens, so the origin of every
//! character must survive the rendering, through `trim`, `split`, slices, `~` and macros, and must not change what the
//! template computes.
//!
//! The template's text is what is marked: each of its characters, in raw text and in string literals, is replaced by a
//! character of the private-use planes, its *mark*. Text from outside stays as it is. This has three consequences.
//!
//! - It fails safe. Whatever is not marked is text from outside: a result of a filter that knows nothing of marks, a key
//!   of a map, a number.
//! - Templates see outside text as it is: `'</think>' in content` and `content.split('</think>')` find what is there.
//!   Only the template's literals look different, so they are made plain where they are compared, looked up or passed on
//!   (`renderer`, `filters`, `methods`); what may hold both kinds of text, such as the result of a macro, is cut by
//!   positions in its plain form.
//! - A character stays one character, so lengths, indices, slices and loops need nothing.
//!
//! A mark is a character that occurs neither in the template nor in the data of this rendering. So nothing in the data
//! can pass for one, and nothing has to be escaped or refused. (No filter decodes escapes such as `\udb80\udc00`. One
//! that did could make a mark, and would have to refuse private-use characters.)
//!
//! Other methods were worse. Marking the text from outside changes what filters see of it (`trim`, `tojson`, `is upper`),
//! and each filter that was forgotten would be a hole. Replacing the names of control tokens in it by other text hides
//! them from templates that look for them. Rendering twice, with and without the names, diverges where a template
//! branches on them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use minijinja::value::{Kwargs, Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::renderer::{is_namespace, is_own};

/// The private-use planes, 15 and 16.
const PRIVATE: std::ops::RangeInclusive<u32> = 0xF_0000..=0x10_FFFD;
/// The first byte of each of their characters in UTF-8 is at least this one.
const LEAD: u8 = 0xF3;

/// Roles that templates make names of, as in `'<|' ~ message.role ~ '|>'`.
const ROLES: [&str; 8] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
    "ipython",
    "model",
];

/// A rendered text, and which of its bytes are the template's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The ranges of its bytes that the template wrote, in order. They do not touch.
    pub template: Vec<Range<usize>>,
}

/// The characters that a rendering has to do with.
#[derive(Debug, Default)]
pub(super) struct Alphabet {
    /// Those that get a mark.
    template: BTreeSet<char>,
    /// Private-use characters that cannot serve as marks, because they mean themselves.
    taken: BTreeSet<char>,
}

impl Alphabet {
    /// Adds the characters of the template's text.
    pub(super) fn template(&mut self, text: &str) {
        self.template.extend(text.chars());
        self.outside(text);
    }

    /// Adds the characters of text from outside.
    pub(super) fn outside(&mut self, text: &str) {
        if may_hold_private(text) {
            self.taken.extend(text.chars().filter(|c| is_private(*c)));
        }
    }
}

/// The marks of one rendering.
#[derive(Debug)]
pub(super) struct Marks {
    /// The mark of each character of the template.
    marks: HashMap<char, char>,
    /// What each private-use character is the mark of, from the first one on.
    chars: Vec<Option<char>>,
}

impl Marks {
    /// Gives every character of the template a mark. ASCII is included: filters such as `upper` make other characters
    /// out of the template's.
    ///
    /// # Errors
    /// If the data has so many private-use characters that too few are left.
    pub(super) fn new(mut alphabet: Alphabet) -> Result<Self, Error> {
        alphabet.template.extend('\0'..='\x7f');
        let mut free = PRIVATE
            .filter_map(char::from_u32)
            .filter(|c| !alphabet.taken.contains(c));
        let (mut marks, mut chars) = (HashMap::new(), Vec::new());
        for c in alphabet.template {
            let Some(mark) = free.next() else {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "the conversation has too many different private-use characters",
                ));
            };
            marks.insert(c, mark);
            let at = mark as usize - *PRIVATE.start() as usize;
            chars.resize(at, None);
            chars.push(Some(c));
        }
        Ok(Self { marks, chars })
    }

    fn char_of(&self, mark: char) -> Option<char> {
        let at = (mark as usize).checked_sub(*PRIVATE.start() as usize)?;
        *self.chars.get(at)?
    }

    /// Marks a text as the template's.
    pub(super) fn mark(&self, text: &str) -> String {
        let mark = |c| self.marks.get(&c).copied().unwrap_or(c);
        text.chars().map(mark).collect()
    }

    /// A text without marks.
    pub(super) fn plain<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.marked(text) {
            return text.into();
        }
        let plain = |c| self.char_of(c).unwrap_or(c);
        text.chars().map(plain).collect::<String>().into()
    }

    /// A text with the characters escaped that HTML gives a meaning, as MarkupSafe does it.
    pub(super) fn escape(&self, text: &str) -> String {
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            let of_template = self.char_of(c);
            let entity = match of_template.unwrap_or(c) {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&#34;",
                '\'' => "&#39;",
                _ => {
                    escaped.push(c);
                    continue;
                }
            };
            match of_template {
                Some(_) => escaped.push_str(&self.mark(entity)),
                None => escaped.push_str(entity),
            }
        }
        escaped
    }

    /// Whether any character is marked.
    pub(super) fn marked(&self, text: &str) -> bool {
        may_hold_private(text) && text.chars().any(|c| self.char_of(c).is_some())
    }

    /// Whether every character is marked.
    pub(super) fn wholly_marked(&self, text: &str) -> bool {
        text.chars().all(|c| self.char_of(c).is_some())
    }

    /// A value without marks in its strings. Keys of maps have none. A namespace becomes a map; what is in one that it
    /// holds stays, because it may be nested without end.
    pub(super) fn plain_value(&self, value: &Value) -> Result<Value, Error> {
        let plain = |text: &str| match self.plain(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(plain) => Some(plain),
        };
        if !is_namespace(value) {
            return rebuild(value, &plain);
        }
        let names = value.try_iter()?;
        let pairs = names.map(|name| {
            let value = rebuild(&value.get_item(&name)?, &plain)?;
            Ok((name, value))
        });
        let pairs: Vec<(Value, Value)> = pairs.collect::<Result<_, Error>>()?;
        Ok(Value::from_pairs(pairs))
    }

    /// A value whose strings, except for keys of maps, are marked as the template's.
    pub(super) fn mark_value(&self, value: &Value) -> Result<Value, Error> {
        rebuild(value, &|text| Some(self.mark(text)))
    }

    /// Tells the template's text and the rest of an output apart.
    pub(super) fn read(&self, output: &str) -> Rendered {
        let mut text = String::with_capacity(output.len());
        let mut template: Vec<Range<usize>> = Vec::new();
        for c in output.chars() {
            let start = text.len();
            let of_template = self.char_of(c);
            text.push(of_template.unwrap_or(c));
            match template.last_mut() {
                _ if of_template.is_none() => {}
                Some(last) if last.end == start => last.end = text.len(),
                _ => template.push(start..text.len()),
            }
        }
        template.dedup_by(|next, last| {
            let role = ROLES.contains(&&text[last.end..next.start]);
            if role {
                last.end = next.end;
            }
            role
        });
        Rendered { text, template }
    }
}

fn is_private(c: char) -> bool {
    PRIVATE.contains(&(c as u32))
}

/// A quick look that most texts pass; in blocks, so that it takes a fraction of a nanosecond per byte.
fn may_hold_private(text: &str) -> bool {
    let any = |block: &[u8]| block.iter().fold(false, |any, byte| any | (*byte >= LEAD));
    text.as_bytes().chunks(64).any(any)
}

/// Calls `see` with every string in a value: keys of maps too, but not the names of keyword arguments.
pub(super) fn strings(value: &Value, see: &mut dyn FnMut(&str)) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => see(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                strings(&item, see)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                if !value.is_kwargs() {
                    strings(&key, see)?;
                }
                strings(&value.get_item(&key)?, see)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A copy of a value with changed strings. `change` returns `None` for a string that stays. Keys of maps stay.
fn rebuild(value: &Value, change: &dyn Fn(&str) -> Option<String>) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::String => match value.as_str().and_then(change) {
            None => value.clone(),
            Some(text) if value.is_safe() => Value::from_safe_string(text),
            Some(text) => text.into(),
        },
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| rebuild(&item, change));
            let items: Vec<Value> = items.collect::<Result<_, _>>()?;
            let of_tuple =
                |object: &minijinja::value::DynObject| object.type_name().contains("Tuple");
            match value.as_object() {
                Some(object) if of_tuple(object) => Tuple::from(items).into(),
                _ => items.into(),
            }
        }
        ValueKind::Map if !is_own(value) => {
            let pair = |key: Value| {
                let item = rebuild(&value.get_item(&key)?, change)?;
                Ok((key, item))
            };
            let pairs = value.try_iter()?.map(pair);
            let pairs: Vec<(Value, Value)> = pairs.collect::<Result<_, Error>>()?;
            match value.is_kwargs() {
                true => keywords(pairs),
                false => Value::from_pairs(pairs),
            }
        }
        _ => value.clone(),
    })
}

/// Keyword arguments.
pub(super) fn keywords(pairs: Vec<(Value, Value)>) -> Value {
    let named = pairs
        .into_iter()
        .map(|(name, value)| (name.to_string(), value));
    named.collect::<Kwargs>().into()
}

/// Cuts ranges out of `marked`, given by their positions in `plain`, its plain form. The ranges are in order and lie
/// between characters.
pub(super) fn cut<'t>(marked: &'t str, plain: &str, ranges: &[Range<usize>]) -> Vec<&'t str> {
    let mut places = marked
        .char_indices()
        .map(|(at, _)| at)
        .chain([marked.len()])
        .zip(plain.char_indices().map(|(at, _)| at).chain([plain.len()]));
    let mut here = places.next().unwrap_or_default();
    let mut place = |wanted: usize| {
        while here.1 < wanted {
            match places.next() {
                Some(next) => here = next,
                None => break,
            }
        }
        here.0
    };
    let ranges = ranges
        .iter()
        .map(|range| (place(range.start), place(range.end)));
    ranges.map(|(start, end)| &marked[start..end]).collect()
}
