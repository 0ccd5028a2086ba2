//! Random texts of all kinds that a tokenizer may meet.

/// A kind of text, and what makes one with so many pieces.
pub(crate) type Kind = (&'static str, fn(&mut Dice, usize) -> String);

/// The kinds.
pub(crate) const KINDS: [Kind; 10] = [
    ("any Unicode", |dice, n| {
        dice.string(n, |dice| dice.scalar(0x11_0000))
    }),
    ("letters of many scripts", |dice, n| {
        dice.string(n, |dice| match dice.below(6) {
            0 => ' ',
            _ => dice.scalar(0x3000),
        })
    }),
    ("Chinese, Japanese, Korean", |dice, n| {
        dice.string(n, |dice| match dice.below(12) {
            0 => dice.range(0x3041, 0x3100),
            1 | 2 => dice.range(0xAC00, 0xD7A4),
            3 => dice.range(0x3000, 0x3040),
            4 => dice.range(0xFF00, 0xFF61),
            5 => dice.range(0x2_0000, 0x2_A6E0),
            6 => ' ',
            _ => dice.range(0x4E00, 0xA000),
        })
    }),
    ("emoji", |dice, n| {
        dice.string(n, |dice| match dice.below(12) {
            0 => '\u{200D}',
            1 => '\u{FE0F}',
            2 => dice.range(0x1_F3FB, 0x1_F400),
            3 => dice.range(0x1_F1E6, 0x1_F200),
            4 => dice.range(0x2600, 0x27C0),
            5 => ' ',
            _ => dice.range(0x1_F300, 0x1_FAFF),
        })
    }),
    ("control characters", |dice, n| {
        dice.string(n, |dice| match dice.below(6) {
            0 => dice.range(0x7F, 0xA1),
            1 => dice.range(0x2000, 0x2070),
            2 => dice.one(&[
                '\u{FEFF}',
                '\u{FFFD}',
                '\u{E0001}',
                '\u{AD}',
                '\u{FFFE}',
                '\u{10FFFF}',
            ]),
            3 => dice.range(0x61, 0x7B),
            _ => dice.range(0, 0x20),
        })
    }),
    ("white space", |dice, n| {
        let mut text = String::new();
        for _ in 0..n / 4 + 1 {
            let c = dice.one(&[
                ' ', ' ', ' ', '\n', '\r', '\t', '\u{A0}', '\u{3000}', '\u{85}',
            ]);
            let most = dice.one(&[2, 3, 9, 40]);
            text.extend(std::iter::repeat_n(c, dice.below(most)));
            if dice.below(2) == 0 {
                text.push_str(dice.one(&["a", "The", "0", ".", "\"", "é", "世"]));
            }
        }
        text
    }),
    ("digits", |dice, n| {
        dice.string(n, |dice| match dice.below(10) {
            0 => dice.one(&[' ', '.', ',', '-', '/', ':', '%', '$', '\n', 'x', 'e']),
            1 => dice.one(&['½', '²', '٣', '४', '𝟗', 'Ⅷ', '①', '〇']),
            _ => dice.range(0x30, 0x3A),
        })
    }),
    ("long words", |dice, n| {
        let letters = dice.below(26) + 1;
        let word = |dice: &mut Dice| dice.range(0x61, 0x61 + letters as u32);
        dice.string(4 * n, word)
    }),
    ("words", |dice, n| {
        let mut text = String::new();
        for _ in 0..n / 3 + 1 {
            text.push_str(dice.one(&[
                " the",
                " The",
                "I'm",
                " you're",
                "HE'LL",
                " don't",
                "'S",
                " naïve",
                " café",
                "—",
                " “quoted”",
                "...",
                "!?",
                " word",
                "word",
                " under_score",
                "CamelCase",
                "camelCase",
                " ALLCAPS",
                " e.g.",
                "\n",
                "\n\n",
                " ",
                "  ",
                ",",
                " größer",
                " Ελλάδα",
                " Москва",
                " عربي",
                " हिन्दी",
                " ไทย",
                " tiếng",
                " Việt",
                "ſ",
                "İ",
                "ß",
                "ﬁ",
            ]));
        }
        text
    }),
    ("code", |dice, n| {
        let mut text = String::new();
        for _ in 0..n / 3 + 1 {
            text.push_str(dice.one(&[
                "fn ",
                "def ",
                "return",
                " = ",
                " == ",
                "();\n",
                "{\n",
                "}\n",
                "    ",
                "        ",
                "\t",
                "\t\t",
                "// ",
                "/* ",
                "*/",
                "#include <",
                ">\n",
                "self.",
                "->",
                "=>",
                "::",
                "&&",
                "||",
                "0x1F",
                "1e-9",
                "\"s\"",
                "'c'",
                "`x`",
                "$VAR",
                "<div class=\"a\">",
                "</div>",
                "[0]",
                "a[i]",
                "x_1",
                "i++",
                "!=",
                "<=",
                "\\n",
                "\\\\",
                "#[test]",
                "@app",
                "%d",
                "SELECT * FROM t",
                "\r\n",
                "if (",
                ") {",
                "else:",
                "lambda x: ",
                "e = mc^2",
                "~/.cache",
                "https://a.b/c?d=e&f",
            ]));
        }
        text
    }),
];

/// Random numbers.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % n
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A character from `from` up to `to`. There must be some.
    fn range(&mut self, from: u32, to: u32) -> char {
        loop {
            let number = from + self.below((to - from) as usize) as u32;
            if let Some(c) = char::from_u32(number) {
                return c;
            }
        }
    }

    /// A character below `end`, the common ones more often.
    fn scalar(&mut self, end: u32) -> char {
        let end = match self.below(4) {
            0 => 0x80,
            1 => 0x800,
            2 => 0x1_0000,
            _ => 0x11_0000,
        }
        .min(end);
        self.range(0, end)
    }

    fn string(&mut self, n: usize, mut c: impl FnMut(&mut Self) -> char) -> String {
        (0..n).map(|_| c(self)).collect()
    }

    /// A text of this kind.
    pub(crate) fn text(&mut self, (_, make): Kind) -> String {
        let n = 1 + self.below(60);
        make(self, n)
    }
}
