//! Split files: `NAME-00001-of-00003.gguf` and the files after it, as one.
//!
//! Source: llama.cpp's `gguf-split`. The first file has all metadata; each has `split.no`, `split.count` and
//! `split.tensors.count`, and a table of the tensors whose data it holds. Joined, the files lie one after the other in
//! one range of offsets, each from a multiple of [`PAGE`], so that what reads or maps a tensor need not know in which
//! file it is.

use super::read::Gguf;
use crate::blob::{Blob, PAGE};
use crate::error::{Result, invalid_model, unsupported};

/// More files than this are an attack, not a model.
const MAX_FILES: u32 = 999;

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// One file, or several that belong together, one after the other.
pub struct Joined<B> {
    parts: Vec<Part<B>>,
}

struct Part<B> {
    blob: B,
    /// Where it starts among all, in bytes.
    start: u64,
}

impl<B: Blob> Joined<B> {
    /// Opens `name`, and if it is the first file of several, those as well. The others' names are the first's with the
    /// number in it changed, or appended where it has none: `model` is followed by `model-00002-of-00003`.
    ///
    /// Everything before the tensor data of every file has been checked when this returns.
    ///
    /// # Errors
    /// As [`Gguf::read`] and [`Gguf::check_data`], `invalid-model` if the files do not belong together, and what
    /// `open` returns, such as `not-found` with the name of a missing file.
    pub fn open(name: &str, open: impl Fn(&str) -> Result<B>) -> Result<(Gguf, Self)> {
        let first = open(name)?;
        let mut gguf = Gguf::read(&first)?;
        let n_files = gguf.metadata.u32(COUNT)?.unwrap_or(1);
        let mut start = first.size();
        let mut parts = vec![Part {
            blob: first,
            start: 0,
        }];
        if n_files <= 1 {
            return Ok((gguf, Self { parts }));
        }
        if n_files > MAX_FILES {
            return Err(unsupported(COUNT, format!("at most {MAX_FILES}"), n_files));
        }
        match gguf.metadata.u32(NO)? {
            Some(0) => {}
            Some(no) => {
                return Err(invalid_model(
                    "file",
                    format!("the first of {n_files}"),
                    format!(
                        "number {}; load the one that ends with -00001-of-{n_files:05}",
                        u64::from(no) + 1
                    ),
                ));
            }
            None => return Err(invalid_model(NO, "0", "none")),
        }
        gguf.check_data(parts[0].blob.size())?;
        for no in 1..n_files {
            let name = name_of(name, no, n_files);
            let blob = open(&name)?;
            let part = Gguf::read(&blob)?;
            let found = (part.metadata.u32(NO)?, part.metadata.u32(COUNT)?);
            if found != (Some(no), Some(n_files)) {
                let text = |n: Option<u32>| n.map_or("none".to_owned(), |n| n.to_string());
                return Err(invalid_model(
                    format!("file `{name}`"),
                    format!("{NO} = {no} and {COUNT} = {n_files}"),
                    format!("{} and {}", text(found.0), text(found.1)),
                ));
            }
            part.check_data(blob.size())?;
            // Sizes are those of files, so that the sum of 999 is far from the end of a u64; a provider may lie.
            start = start
                .checked_next_multiple_of(PAGE as u64)
                .filter(|start| start.checked_add(blob.size()).is_some())
                .ok_or_else(|| invalid_model("files", "less than 2^64 bytes in all", "more"))?;
            gguf.append(part, start)?;
            let size = blob.size();
            parts.push(Part { blob, start });
            start += size;
        }
        if let Some(expected) = gguf.metadata.u32(TENSORS)?
            && expected as usize != gguf.tensors.len()
        {
            return Err(invalid_model(TENSORS, expected, gguf.tensors.len()));
        }
        Ok((gguf, Self { parts }))
    }

    /// Whether it is one file.
    pub fn is_one(&self) -> bool {
        self.parts.len() == 1
    }

    /// The file that holds the byte at `offset`, and the offset within it.
    fn part(&self, offset: u64) -> (&B, u64) {
        let after = self.parts.partition_point(|part| part.start <= offset);
        // The first starts at 0.
        let part = &self.parts[after.max(1) - 1];
        (&part.blob, offset - part.start)
    }
}

/// A range must lie within one file, as each tensor does.
impl<B: Blob> Blob for Joined<B> {
    fn size(&self) -> u64 {
        self.parts
            .last()
            .map_or(0, |part| part.start + part.blob.size())
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let (blob, offset) = self.part(offset);
        blob.read(offset, length)
    }

    fn map(&self, offset: u64, length: usize, address: usize) -> Result<bool> {
        let (blob, offset) = self.part(offset);
        blob.map(offset, length, address)
    }
}

impl Gguf {
    /// Refuses a file of several, for a caller that has one.
    ///
    /// # Errors
    /// `unsupported`.
    pub(crate) fn check_whole(&self) -> Result<()> {
        match self.metadata.u32(COUNT)? {
            None | Some(0 | 1) => Ok(()),
            Some(n) => Err(unsupported(
                "file",
                "a whole model",
                format!("one of {n} files; join them with llama-gguf-split --merge"),
            )),
        }
    }
}

/// The name of file `no`, counted from 0, of `n`.
fn name_of(first: &str, no: u32, n: u32) -> String {
    let suffix = |no: u32| format!("-{no:05}-of-{n:05}");
    let at = first.rfind(&suffix(1));
    let (before, after) = at.map_or((first, ""), |at| {
        (&first[..at], &first[at + suffix(1).len()..])
    });
    format!("{before}{}{after}", suffix(no + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::gguf::{Value, Writer};
    use crate::loaded::{Model, Scope};
    use crate::model::{Mapping, Solo};
    use crate::test_model::{Shape, model};
    use std::rc::Rc;

    /// The files of a tiny model, and its whole.
    fn files(n: u16) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
        let whole = model(&Shape::default());
        let parts = Writer::split(&whole, n).expect("a valid file").into_iter();
        let parts = parts.zip(1..);
        let parts = parts.map(|(part, no)| (format!("m-{no:05}-of-{n:05}"), part));
        (whole, parts.collect())
    }

    fn provider<'a>(files: &'a [(String, Vec<u8>)]) -> impl Fn(&str) -> Result<&'a Vec<u8>> {
        move |name| {
            let file = files.iter().find(|(known, _)| known == name);
            let file = file.map(|(_, file)| file);
            file.ok_or_else(|| Error::NotFound(name.to_owned()))
        }
    }

    fn failure(name: &str, files: &[(String, Vec<u8>)]) -> String {
        let joined = Joined::open(name, provider(files));
        joined.err().expect("a failure").to_string()
    }

    #[test]
    fn several_files_are_the_whole() {
        for n in [2, 3, 7] {
            let (whole, files) = files(n);
            let expected = Gguf::read(&whole).expect("a valid file");
            let (gguf, joined) = Joined::open(&files[0].0, provider(&files)).expect("all files");
            assert_eq!(gguf.tensors.len(), expected.tensors.len());
            for (found, expected) in gguf.tensors.iter().zip(&expected.tensors) {
                assert_eq!(
                    (&found.name, &found.shape),
                    (&expected.name, &expected.shape)
                );
                let size = found.size as usize;
                let bytes = joined.read(found.offset, size);
                assert_eq!(bytes, whole.read(expected.offset, size), "{}", found.name);
            }
            let load = |open: &dyn Fn(&str) -> Result<Vec<u8>>, name: &str| {
                Model::open(name, open, Scope::Full, Mapping::Allowed, Rc::new(Solo))
            };
            let open = |name: &str| provider(&files)(name).cloned();
            load(&open, &files[0].0).expect("a model of several files");
        }
    }

    #[test]
    fn a_name_without_a_number_gets_one() {
        assert_eq!(name_of("model", 1, 3), "model-00002-of-00003");
        assert_eq!(
            name_of("a-00001-of-00003.gguf", 2, 3),
            "a-00003-of-00003.gguf"
        );
        assert_eq!(
            name_of("a-00001-of-00004.gguf", 2, 3),
            "a-00001-of-00004.gguf-00003-of-00003"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let (_, mut files) = files(3);
        files.remove(1);
        assert_eq!(
            failure("m-00001-of-00003", &files),
            "m-00002-of-00003: no such model"
        );
    }

    #[test]
    fn a_file_that_is_not_the_first_is_told() {
        let (_, files) = files(3);
        assert_eq!(
            failure("m-00002-of-00003", &files),
            "invalid model: file: expected the first of 3, found number 2; load the one that ends with -00001-of-00003"
        );
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let (_, of_three) = files(3);
        let (_, of_two) = files(2);
        let swap = |at: usize, with: &[u8]| {
            let mut files = of_three.clone();
            files[at].1 = with.to_vec();
            failure("m-00001-of-00003", &files)
        };
        assert_eq!(
            swap(1, &of_two[1].1),
            "invalid model: file `m-00002-of-00003`: expected split.no = 1 and split.count = 3, found 1 and 2"
        );
        assert_eq!(
            swap(1, &of_three[2].1),
            "invalid model: file `m-00002-of-00003`: expected split.no = 1 and split.count = 3, found 2 and 3"
        );
        let whole = model(&Shape::default());
        assert!(swap(2, &whole).contains("found none and none"));
        let cut = &of_three[2].1[..of_three[2].1.len() - 32];
        assert!(swap(2, cut).contains("it is cut short"));
        assert!(swap(2, b"GGUF").contains("before the end of the file"));
    }

    #[test]
    fn tensors_in_two_files_and_missing_ones_are_refused() {
        let part = |no: u32, count: u32, tensors: &[&str]| {
            let mut writer = Writer::default();
            writer.metadata(NO, Value::U16(no as u16));
            writer.metadata(COUNT, Value::U16(count as u16));
            writer.metadata(TENSORS, Value::I32(3));
            let size = |name: &&str| writer.tensor(name, crate::gguf::TensorType::F32, &[8]);
            let size: u64 = tensors.iter().map(size).sum();
            let mut file = writer.header();
            file.resize(file.len() + size as usize, 0);
            file
        };
        let both = |first: &[&str], second: &[&str]| {
            let file = |no: u32, file| (format!("m-{no:05}-of-00002"), file);
            failure(
                "m-00001-of-00002",
                &[file(1, part(0, 2, first)), file(2, part(1, 2, second))],
            )
        };
        assert_eq!(
            both(&["a", "b"], &["c", "a"]),
            "invalid model: tables of tensors: expected each name once, found `a` in two files"
        );
        assert_eq!(
            both(&["a"], &["b"]),
            "invalid model: split.tensors.count: expected 3, found 2"
        );
        let many = [("m-00001-of-01000".to_owned(), part(0, 1000, &[]))];
        assert_eq!(
            failure("m-00001-of-01000", &many),
            "unsupported: split.count: expected at most 999, found 1000"
        );
    }

    #[test]
    fn a_provider_with_one_file_says_which_is_missing() {
        let (_, files) = files(2);
        let model = Model::load(&files[0].1, Scope::Full, Mapping::Copy, Rc::new(Solo));
        let error = model.err().expect("a failure").to_string();
        assert_eq!(error, "model-00002-of-00002: no such model");
    }
}
