//! From the bytes of a file to a model that answers.

use std::rc::Rc;

use arbitrary::{Result, Unstructured};
use gust_engine::loaded::{Model, Scope};
use gust_engine::model::{Mapping, Solo};

use super::values::{changed_file, exercise, tiny_model};

/// A file as it is, or changes of a tiny model.
pub fn run(data: &[u8]) {
    if data.starts_with(b"GGUF") {
        load(data);
    } else if let Ok(file) = changed(data) {
        load(&file);
    }
}

fn changed(data: &[u8]) -> Result<Vec<u8>> {
    let mut input = Unstructured::new(data);
    let sound = tiny_model(&mut input)?;
    changed_file(&mut input, &sound)
}

fn load(file: &[u8]) {
    for scope in [Scope::Metadata, Scope::Vocabulary, Scope::Full] {
        let model = Model::load(&file, scope, Mapping::Allowed, Rc::new(Solo));
        match (model, scope) {
            (Ok(model), Scope::Full) => exercise(Rc::new(model)),
            (Ok(_), _) => {}
            (Err(_), _) => return,
        }
    }
}
