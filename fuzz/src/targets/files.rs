//! Models in several files, and adapters.

use std::cell::OnceCell;
use std::rc::Rc;

use arbitrary::{Result, Unstructured};
use gust_engine::error::Error;
use gust_engine::gguf::{TensorType, Writer};
use gust_engine::loaded::{Model, Scope};
use gust_engine::model::{Mapping, Solo};
use gust_engine::session::{Session, SessionOptions};
use gust_engine::tiny_models::{Matrices, RandomAdapter, named};

use super::values::{changed_file, exercise, float, tiny_model};

/// Changes of such files.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = match input.arbitrary() {
        Ok(true) => several(&mut input),
        _ => adapter(&mut input),
    };
}

fn several(input: &mut Unstructured<'_>) -> Result<()> {
    let sound = tiny_model(input)?;
    let count = input.int_in_range(1..=5)?;
    let mut files = Writer::split(&sound, count).expect("a sound file");
    for _ in 0..input.int_in_range(1..=2)? {
        let at = input.choose_index(files.len())?;
        files[at] = changed_file(input, &files[at].clone())?;
    }
    // Some are in the place of another, or missing.
    let at = input.choose_index(files.len())?;
    match input.int_in_range(0..=3)? {
        0 => files.truncate(at),
        1 => files.swap(0, at),
        _ => {}
    }
    let open = |name: &str| {
        let number = name
            .split("-of-")
            .next()
            .and_then(|name| name.rsplit('-').next());
        let number = number.and_then(|digits| digits.parse::<usize>().ok());
        let file = number.and_then(|number| files.get(number.wrapping_sub(1)));
        let file = file.map(Vec::as_slice);
        file.ok_or_else(|| Error::NotFound(name.to_owned()))
    };
    let name = "model-00001-of-00005";
    let model = Model::open(name, open, Scope::Full, Mapping::Copy, Rc::new(Solo));
    if let Ok(model) = model {
        exercise(Rc::new(model));
    }
    Ok(())
}

thread_local! {
    static BASE: OnceCell<(Rc<Model>, Vec<u8>)> = const { OnceCell::new() };
}

fn adapter(input: &mut Unstructured<'_>) -> Result<()> {
    let (model, sound) = BASE.with(|base| {
        let (model, adapter) = base.get_or_init(|| {
            let cases = named();
            let (_, case) = cases
                .iter()
                .find(|(name, _)| name == "qwen2")
                .expect("it is there");
            let file = case.clone().with_context(32).file(Matrices::Q8_0);
            let bytes = file.as_slice();
            let model = Model::load(&bytes, Scope::Full, Mapping::Copy, Rc::new(Solo));
            let adapter = RandomAdapter {
                rank: 4,
                alpha: 8.0,
                seed: 1,
                ty: TensorType::F32,
            };
            let adapter = adapter.file(&file, |_| true);
            (Rc::new(model.expect("a sound file")), adapter)
        });
        (model.clone(), adapter.clone())
    });
    let file = changed_file(input, &sound)?;
    let Ok(adapter) = model.open_adapter("model", |_: &str| Ok(file.as_slice())) else {
        return Ok(());
    };
    let options = SessionOptions {
        context_length: Some(16),
        kv_type: None,
    };
    let mut session = Session::new(model, options).expect("room");
    if session
        .set_adapters(&[(Rc::new(adapter), float(input)?)])
        .is_ok()
    {
        let _ = session.feed(&[1, 2, 3]);
        let _ = session.next_token();
    }
    Ok(())
}
