//! Hostile files and prompts. The files are a valid model with bytes changed at random, the same ones in every run.
//! Whatever they contain, the program accepts them, refuses them, or reaches a limit; it never panics or traps (which
//! [`crate::helpers::Ended`] checks).

use std::thread;

use crate::helpers::{Parrot, Random, data, gust};

/// Files per test; each is given to one command.
const FILES: usize = 160;

#[test]
fn changed_parrots_do_no_harm() {
    let mut parrot = Parrot::new("abc");
    parrot.chat_template =
        Some("{% for m in messages %}{{ m.content | trim }}{% endfor %}".to_owned());
    attack(&parrot.bytes(), 1);
}

#[test]
fn changed_quantised_stories_do_no_harm() {
    let path = data("models/stories260K-q4_0.gguf");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{error}"));
    attack(&bytes, 2);
}

/// No prompt does harm: neither text that looks like control tokens or template code, nor bytes that belong to no
/// language, nor text that is too long.
#[test]
fn prompts_of_any_kind_do_no_harm() {
    let mut random = Random::new(3);
    let mut prompts: Vec<String> = [
        "",
        " ",
        "\n",
        "\0",
        "<s></s><unk>",
        "<0x00><0xZZ>",
        "{{ 1/0 }}{% raw %}",
        "\u{feff}\u{202e}\u{10ffff}",
        "\u{1b}[2J",
        "a\u{301}\u{302}\u{303}",
    ]
    .map(str::to_owned)
    .to_vec();
    prompts.push("word ".repeat(200_000));
    prompts.push("😀".repeat(100_000));
    prompts.push(" ".repeat(300_000));
    for _ in 0..20 {
        let character = |random: &mut Random| char::from_u32(random.below(0x11_0000) as u32);
        let count = random.below(200);
        prompts.push((0..count).filter_map(|_| character(&mut random)).collect());
    }
    for prompt in prompts {
        let (short, length): (String, _) = (prompt.chars().take(40).collect(), prompt.len());
        // The final line break of a prompt is not part of it.
        let ended = gust(["run", "-n", "2"]).stdin(prompt + "\n").run();
        assert!(
            matches!(ended.code, Some(0 | 2 | 4)),
            "{short:?}, {length} bytes: {ended:#?}"
        );
    }
}

/// Values at the limits of what the flags accept.
#[test]
fn extreme_settings_do_no_harm() {
    let parrot = Parrot::new("abc").file();
    for flags in [
        "--top-k 4294967295",
        "--top-k 1 --top-p 0 --min-p 1 --typical-p 0",
        "--top-k 0 --top-p 1 --min-p 0 --typical-p 1",
        "--temperature 3.4e38",
        "--temperature 1.2e-38",
        "--repeat-penalty 3.4e38",
        "--repeat-penalty 1.2e-38 --penalty-window 4294967295",
        "--presence-penalty 2 --frequency-penalty -2 --penalty-window 0",
        "--seed 18446744073709551615",
        "-n 0",
        "-n 4294967295",
        "--context 1",
        "--context 2",
        "--json --logprobs 0",
        "--json --logprobs 1024",
        "--max-memory 1",
        "--max-memory 15EiB",
        "--call-timeout 1e-9",
        "--call-timeout 1e19",
        "--stop a --stop aa --stop x",
    ] {
        let run = gust(["run", "Once"]).args(flags.split(' '));
        let ended = run.model(&parrot).run();
        assert!(matches!(ended.code, Some(0 | 2 | 4)), "{flags}: {ended:#?}");
    }
}

/// Splits the work between two threads.
fn attack(sound: &[u8], seed: u64) {
    let jobs: Vec<u64> = (0..2).map(|part| seed * 10 + part).collect();
    thread::scope(|scope| {
        for seed in jobs {
            scope.spawn(move || attack_from(sound, seed));
        }
    });
}

fn attack_from(sound: &[u8], seed: u64) {
    let mut random = Random::new(seed);
    let header = header_length(sound);
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    for nth in 0..FILES / 2 {
        let changed = change(sound, header, &mut random);
        std::fs::write(file.path(), &changed).unwrap_or_else(|error| panic!("{error}"));
        // The result may be a model that runs, perhaps for a long time: the limits end it.
        let limits = ["--call-timeout", "20", "--max-memory", "1GiB"];
        let ended = match random.below(4) {
            0 => gust(["inspect"]),
            1 => gust(["tokenize", "Once \u{1F600} upon"]),
            2 => gust(["chat", "-n", "3"]).stdin("Hello\n"),
            _ => gust(["run", "-n", "3", "-t", "0", "Once"]),
        }
        .args(limits)
        .model(file.path())
        .run();
        assert!(
            matches!(ended.code, Some(0 | 2 | 3 | 4)),
            "seed {seed}, file {nth}: {ended:#?}"
        );
    }
}

/// One to four changes, most of them where counts, lengths, types and offsets are.
fn change(sound: &[u8], header: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..=random.below(4) {
        let end = if random.below(8) == 0 {
            bytes.len()
        } else {
            header.min(bytes.len())
        };
        let at = random.below(end.max(1));
        match random.below(6) {
            // One bit.
            0 => bytes[at] ^= 1 << random.below(8),
            // One byte.
            1 => bytes[at] = random.any() as u8,
            // An eight-byte number at the edge of some range.
            2 | 3 => {
                let edges = [
                    0,
                    1,
                    0xff,
                    0x7fff_ffff,
                    0xffff_ffff,
                    1 << 32,
                    1 << 62,
                    i64::MAX as u64,
                    u64::MAX,
                ];
                let edge = edges[random.below(edges.len())].to_le_bytes();
                let room = (bytes.len() - at).min(8);
                bytes[at..at + room].copy_from_slice(&edge[..room]);
            }
            // A four-byte number.
            4 => {
                let number = (random.below(40) as u32).to_le_bytes();
                let room = (bytes.len() - at).min(4);
                bytes[at..at + room].copy_from_slice(&number[..room]);
            }
            // Some bytes removed.
            _ => {
                let room = (bytes.len() - at).min(1 + random.below(16));
                bytes.drain(at..at + room);
            }
        }
    }
    bytes
}

/// Roughly where the data begin: after the name of the last tensor.
fn header_length(bytes: &[u8]) -> usize {
    let last = b"output";
    let found = bytes.windows(last.len()).rposition(|window| window == last);
    found.map_or(bytes.len(), |at| at + 64).min(bytes.len())
}
