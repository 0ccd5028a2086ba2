//! Sessions through the public interface, on the model that ships.

use gust::{
    CancelHandle, Engine, Error, Event, FinishReason, GenerationOptions, LoadOptions, Model,
    SHIPPED_MODEL, Session, SessionOptions, TokenizeOptions,
};

const PROMPT: &str = "Once upon a time";

fn model() -> Model {
    let engine = Engine::new().expect("the embedded engine");
    engine
        .load(SHIPPED_MODEL, &LoadOptions::default())
        .expect("the model that ships")
}

fn prompt(model: &Model) -> Vec<u32> {
    model
        .tokenize(PROMPT, &TokenizeOptions::default())
        .expect("it has a tokenizer")
}

/// A session that has taken the prompt and continues greedily for `max_tokens`.
fn begun(model: &Model, max_tokens: u32) -> Session {
    let mut session = model
        .session(&SessionOptions::default())
        .expect("room for a session");
    session
        .configure(&greedy(max_tokens))
        .expect("valid options");
    session.feed(&prompt(model)).expect("room for the prompt");
    session
}

fn greedy(max_tokens: u32) -> GenerationOptions {
    let max_tokens = Some(max_tokens);
    GenerationOptions {
        temperature: Some(0.0),
        max_tokens,
        ..Default::default()
    }
}

fn ids(session: &mut Session) -> Vec<u32> {
    session
        .tokens()
        .filter_map(|token| token.expect("room for a token").id)
        .collect()
}

#[test]
fn tokens_and_text_are_the_same_answer() {
    let model = model();
    let mut session = begun(&model, 20);
    let tokens: Vec<_> = session
        .tokens()
        .collect::<Result<_, _>>()
        .expect("room for tokens");
    assert_eq!(session.finish_reason(), Some(FinishReason::Length));
    assert_eq!(tokens.iter().filter(|token| token.id.is_some()).count(), 20);
    let bytes: Vec<u8> = tokens.into_iter().flat_map(|token| token.bytes).collect();

    let mut session = begun(&model, 20);
    assert_eq!(session.finish_reason(), None);
    let pieces: Vec<_> = session
        .text()
        .collect::<Result<_, _>>()
        .expect("room for tokens");
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    assert_eq!(pieces.concat(), String::from_utf8_lossy(&bytes));
}

#[test]
fn an_answer_that_is_over_stays_over_until_it_is_begun_anew() {
    let model = model();
    let mut session = begun(&model, 2);
    assert_eq!(ids(&mut session).len(), 2);
    for _ in 0..2 {
        let over = Event::Finished {
            reason: FinishReason::Length,
            bytes: Vec::new(),
        };
        assert_eq!(session.next_event(), Ok(over));
        assert_eq!(session.tokens().count(), 0);
    }
    session.configure(&greedy(3)).expect("valid options");
    assert_eq!(session.finish_reason(), None);
    let more = ids(&mut session);
    assert_eq!(more.len(), 3);
    assert_eq!(more, ids(&mut begun(&model, 5))[2..]);
}

#[test]
fn text_that_was_held_back_is_not_lost() {
    let model = model();
    let whole: String = begun(&model, 12)
        .text()
        .map(|text| text.expect("text"))
        .collect();
    let end = whole.trim_end().rsplit(' ').next().expect("a word");
    let mut options = greedy(12);
    options.stop = vec![format!("{end} - and what would never follow")];
    let mut session = begun(&model, 12);
    session.configure(&options).expect("valid options");
    let tokens: Vec<_> = session
        .tokens()
        .collect::<Result<_, _>>()
        .expect("room for tokens");
    let last = tokens.last().expect("some tokens");
    assert_eq!(last.id, None);
    assert_eq!(String::from_utf8_lossy(&last.bytes), end);
    let bytes: Vec<u8> = tokens.into_iter().flat_map(|token| token.bytes).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), whole);

    options.stop = vec![end.to_owned()];
    let mut session = begun(&model, 12);
    session.configure(&options).expect("valid options");
    let text: String = session.text().map(|text| text.expect("text")).collect();
    assert_eq!(session.finish_reason(), Some(FinishReason::Stop));
    assert_eq!(whole.split_once(end).expect("it is in there").0, text);
}

#[test]
fn a_cancelled_session_does_nothing_and_stays_usable() {
    let model = model();
    let mut session = begun(&model, 4);
    let cancel: CancelHandle = session.cancel_handle();
    let used = session.usage().expect("no trap").context_used;
    std::thread::spawn(move || cancel.cancel())
        .join()
        .expect("no panic");
    assert_eq!(session.next_event(), Err(Error::Cancelled));
    assert_eq!(session.feed(&[1]), Err(Error::Cancelled));
    assert_eq!(session.score(&[1]), Err(Error::Cancelled));
    assert_eq!(
        session.tokens().collect::<Vec<_>>(),
        [Err(Error::Cancelled)]
    );
    assert_eq!(session.text().collect::<Vec<_>>(), [Err(Error::Cancelled)]);
    assert_eq!(session.usage().expect("no trap").context_used, used);
    let mut copy = session.fork().expect("room for a copy");
    assert_eq!(ids(&mut copy).len(), 4, "a copy has its own handle");
    session.cancel_handle().reset();
    assert_eq!(ids(&mut session), ids(&mut begun(&model, 4)));
}

#[test]
fn copies_and_saved_states_go_on_in_the_same_way() {
    let model = model();
    let expected = ids(&mut begun(&model, 10));
    let mut session = begun(&model, 10);
    session.next_event().expect("a token");
    let mut copy = session.fork().expect("room for a copy");
    session.truncate(1).expect("there is one");
    drop(session);
    assert_eq!(ids(&mut copy), expected[1..]);

    let state = begun(&model, 10).save().expect("room for a state");
    let other = self::model();
    let mut restored = other
        .session(&SessionOptions::default())
        .expect("room for a session");
    restored.restore(&state).expect("a state of this model");
    restored.configure(&greedy(10)).expect("valid options");
    assert_eq!(ids(&mut restored), expected);
    let refused = restored.restore(&state[..state.len() / 2]);
    assert!(
        matches!(refused, Err(Error::InvalidArgument(_))),
        "{refused:?}"
    );
}

#[test]
fn scores_are_the_log_probabilities_of_what_was_said() {
    let model = model();
    let prompt = prompt(&model);
    let mut options = greedy(6);
    options.logprobs = Some(2);
    let mut session = begun(&model, 6);
    session.configure(&options).expect("valid options");
    let tokens: Vec<_> = session
        .tokens()
        .collect::<Result<_, _>>()
        .expect("room for tokens");
    let said: Vec<u32> = tokens.iter().filter_map(|token| token.id).collect();

    let mut scored = model
        .session(&SessionOptions::default())
        .expect("room for a session");
    let mut told = Vec::new();
    let text = [&prompt[..], &said].concat();
    let scores = scored
        .score_with(&text, |done| told.push(done))
        .expect("room for the text");
    assert_eq!(scores.len(), text.len());
    assert_eq!(told.last(), Some(&text.len()));
    assert!(told.is_sorted());
    assert_eq!(scores[0], 0.0);
    for (token, score) in tokens.iter().zip(&scores[prompt.len()..]) {
        assert_eq!(token.top.len(), 2);
        assert_eq!(
            token.top[0].id,
            token.id.expect("none was held back"),
            "greedy"
        );
        assert_eq!(token.logprob, Some(token.top[0].logprob));
        let difference = (token.top[0].logprob - score).abs();
        assert!(
            difference < 1e-3,
            "one token at a time differs from all at once by {difference}"
        );
    }
}

#[test]
fn everything_can_be_sent_to_other_threads() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<Engine>();
    is_shared::<Model>();
    is_shared::<CancelHandle>();
    is_shared::<Error>();
    is_send::<Session>();
}

#[test]
fn nothing_needs_to_be_kept_but_the_session() {
    let mut session = begun(&model(), 4);
    let copy = session.fork().expect("room for a copy");
    let other = std::thread::spawn(move || ids(&mut session))
        .join()
        .expect("no panic");
    let mut copy = copy;
    assert_eq!(ids(&mut copy), other);
}

#[test]
fn sessions_of_one_model_take_turns() {
    let model = model();
    let expected = ids(&mut begun(&model, 8));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..4 {
                        // Dropped while another thread is probably inside.
                        drop(begun(&model, 1));
                        assert_eq!(ids(&mut begun(&model, 8)), expected);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

#[test]
fn sessions_give_their_memory_back() {
    let model = model();
    drop(begun(&model, 1));
    drop(begun(&model, 1));
    let before = model.linear_memory_bytes();
    for _ in 0..50 {
        drop(begun(&model, 1));
    }
    assert_eq!(model.linear_memory_bytes(), before);
}

#[test]
fn the_callers_mistakes_are_errors() {
    let model = model();
    let size = model.info().vocabulary_size;
    let mut session = begun(&model, 4);
    for refused in [
        session.feed(&[size]).expect_err("outside the vocabulary"),
        session.truncate(1000).expect_err("there are fewer"),
        session
            .configure(&GenerationOptions {
                temperature: Some(f32::NAN),
                ..greedy(1)
            })
            .expect_err("not a number"),
        session
            .configure(&GenerationOptions {
                stop: vec![String::new()],
                ..greedy(1)
            })
            .expect_err("empty"),
        session.restore(b"no state").expect_err("no state"),
        model
            .detokenize(&[size], Default::default())
            .expect_err("outside the vocabulary"),
        model
            .session(&SessionOptions {
                context_length: Some(0),
                ..Default::default()
            })
            .map(drop)
            .expect_err("no room for any token"),
    ] {
        assert!(matches!(refused, Error::InvalidArgument(_)), "{refused:?}");
    }
    let room = session.usage().expect("no trap");
    let many = vec![1; room.context_length as usize + 1];
    let refused = session.feed(&many);
    assert!(
        matches!(refused, Err(Error::PromptTooLong { .. })),
        "{refused:?}"
    );
    assert_eq!(session.usage().expect("no trap"), room, "none was taken");
    assert_eq!(
        ids(&mut session),
        ids(&mut begun(&model, 4)),
        "it continues as if nothing had happened"
    );
}

#[test]
fn a_full_context_is_an_error_and_can_be_shortened() {
    let model = model();
    let length = prompt(&model).len() as u32 + 3;
    let options = SessionOptions {
        context_length: Some(length),
        ..Default::default()
    };
    let mut session = model.session(&options).expect("room for a session");
    session.configure(&greedy(100)).expect("valid options");
    session.feed(&prompt(&model)).expect("room for the prompt");
    let answer: Vec<_> = session.tokens().collect();
    assert_eq!(answer.iter().filter(|token| token.is_ok()).count(), 3);
    assert_eq!(
        answer.last(),
        Some(&Err(Error::ContextFull { limit: length }))
    );
    session.truncate(length - 1).expect("there are more");
    assert!(matches!(session.next_event(), Ok(Event::Token(_))));
}
