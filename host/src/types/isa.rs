//! Which of the processor's instructions compiled code may use.
//!
//! Cranelift compiles for the processor that it runs on, and uses all that this has. For an [`Isa`] with less, its
//! features are switched off one by one, so that one machine runs the code of several. The features are listed here, with
//! their names in Cranelift, and nowhere else: the tools that measure kernels include this file.

use std::fmt;

/// Which of the processor's instructions compiled code may use. The answers have the same bits with all of them.
///
/// ```
/// let engine = gust::Engine::builder().isa(gust::Isa::Native).build()?;
/// # Ok::<(), gust::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isa {
    /// All that the processor has.
    #[default]
    Native,
    /// On x86-64: AVX2 and what came with it (x86-64-v3), but neither AVX-512 nor VNNI.
    Avx2,
    /// On x86-64: AVX-512 (x86-64-v4), and those of its later parts that the processor has.
    Avx512,
    /// On arm64: what every processor has, but not the dot product.
    Neon,
    /// On arm64: the dot product (FEAT_DotProd), too.
    Dotprod,
}

/// A feature of processors that Cranelift can use or do without.
#[derive(Debug)]
pub(crate) struct Feature {
    /// As Rust and Linux name it.
    pub(crate) name: &'static str,
    /// As Cranelift does.
    pub(crate) flag: &'static str,
    /// The first ISA that includes it; [`Isa::Native`] if no other one does.
    pub(crate) since: Isa,
    /// Whether every processor with that ISA has it.
    is_part: bool,
}

/// The processor lacks what an [`Isa`] consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) expected: String,
    pub(crate) found: String,
}

macro_rules! features {
    ($table:ident, $arch:literal, $is_detected:ident: $($name:tt $flag:literal $since:ident $is_part:literal,)*) => {
        pub(crate) const $table: &[Feature] = &[$(Feature {
            name: $name,
            flag: $flag,
            since: Isa::$since,
            is_part: $is_part,
        }),*];

        #[cfg(target_arch = $arch)]
        fn is_detected(feature: &Feature) -> bool {
            match feature.name {
                $($name => std::arch::$is_detected!($name),)*
                _ => false,
            }
        }
    };
}

features!(X86_64, "x86_64", is_x86_feature_detected:
    "cmpxchg16b" "has_cmpxchg16b" Avx2 true,
    "sse3" "has_sse3" Avx2 true,
    "ssse3" "has_ssse3" Avx2 true,
    "sse4.1" "has_sse41" Avx2 true,
    "sse4.2" "has_sse42" Avx2 true,
    "popcnt" "has_popcnt" Avx2 true,
    "lzcnt" "has_lzcnt" Avx2 true,
    "bmi1" "has_bmi1" Avx2 true,
    "bmi2" "has_bmi2" Avx2 true,
    "avx" "has_avx" Avx2 true,
    "fma" "has_fma" Avx2 true,
    "avx2" "has_avx2" Avx2 true,
    "avx512f" "has_avx512f" Avx512 true,
    "avx512dq" "has_avx512dq" Avx512 true,
    "avx512vl" "has_avx512vl" Avx512 true,
    "avx512vbmi" "has_avx512vbmi" Avx512 false,
    "avx512bitalg" "has_avx512bitalg" Avx512 false,
    "avx512vnni" "has_avx512vnni" Avx512 false,
    "avxvnni" "has_avx_vnni" Native false,
);

features!(AARCH64, "aarch64", is_aarch64_feature_detected:
    "lse" "has_lse" Neon false,
    "paca" "has_pauth" Neon false,
    "fp16" "has_fp16" Neon false,
    "dotprod" "has_dotprod" Dotprod true,
    "i8mm" "has_i8mm" Native false,
);

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn is_detected(_: &Feature) -> bool {
    false
}

impl Isa {
    /// Those that there are on this architecture, from the largest.
    pub fn known() -> &'static [Isa] {
        match std::env::consts::ARCH {
            "x86_64" => &[Isa::Native, Isa::Avx512, Isa::Avx2],
            "aarch64" => &[Isa::Native, Isa::Dotprod, Isa::Neon],
            _ => &[Isa::Native],
        }
    }

    /// The one of this name, if this architecture has it.
    pub fn named(name: &str) -> Option<Isa> {
        let mut known = Isa::known().iter();
        known.find(|isa| isa.name() == name).copied()
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Native => "native",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
            Isa::Dotprod => "dotprod",
        }
    }

    /// The features of this processor that code for the ISA may use.
    pub fn features(self) -> Vec<&'static str> {
        let used = FEATURES.iter().filter(|feature| self.includes(feature));
        used.filter(|feature| is_detected(feature))
            .map(|feature| feature.name)
            .collect()
    }

    /// Cranelift's flags for the features that code for the ISA may not use.
    pub(crate) fn flags_off(self) -> impl Iterator<Item = &'static str> {
        let unused = FEATURES
            .iter()
            .filter(move |feature| !self.includes(feature));
        unused.map(|feature| feature.flag)
    }

    /// Whether this processor has all that every processor with the ISA has.
    pub(crate) fn check(self) -> Result<(), Lacking> {
        let names = |features: &mut dyn Iterator<Item = &Feature>| {
            let names: Vec<_> = features.map(|feature| feature.name).collect();
            match names.is_empty() {
                true => "none of these".to_owned(),
                false => names.join(", "),
            }
        };
        let is_missing =
            |feature: &&Feature| feature.is_part && self.includes(feature) && !is_detected(feature);
        if self == Isa::Native || !FEATURES.iter().any(|feature| is_missing(&feature)) {
            return Ok(());
        }
        Err(Lacking {
            expected: format!(
                "a processor with {}",
                names(&mut FEATURES.iter().filter(is_missing))
            ),
            found: format!(
                "one with {}",
                names(&mut FEATURES.iter().filter(|feature| is_detected(feature)))
            ),
        })
    }

    /// Whether code for the ISA may use the feature, which is one of its architecture.
    pub(crate) fn includes(self, feature: &Feature) -> bool {
        let step = |isa: Isa| match isa {
            Isa::Avx2 | Isa::Neon => 0,
            Isa::Avx512 | Isa::Dotprod => 1,
            Isa::Native => 2,
        };
        step(feature.since) <= step(self)
    }
}

/// The features of this architecture.
const FEATURES: &[Feature] = if cfg!(target_arch = "x86_64") {
    X86_64
} else if cfg!(target_arch = "aarch64") {
    AARCH64
} else {
    &[]
};

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_isa_has_what_the_one_below_has() {
        let features = |isa: Isa| isa.features();
        for pair in Isa::known().windows(2) {
            let [more, less] = [features(pair[0]), features(pair[1])];
            assert!(less.iter().all(|name| more.contains(name)), "{pair:?}");
        }
        assert_eq!(Isa::Native.flags_off().count(), 0);
        assert_eq!(Isa::Native.check(), Ok(()));
    }

    /// Whatever is detected here: the list of what is missing and of what there is covers the same features.
    #[test]
    fn features_are_of_one_list() {
        for &isa in Isa::known() {
            assert_eq!(Isa::named(isa.name()), Some(isa));
            let off = isa.flags_off().count();
            let on = FEATURES.iter().filter(|feature| isa.includes(feature));
            assert_eq!(off + on.count(), FEATURES.len());
            if let Err(Lacking { expected, .. }) = isa.check() {
                let has = isa.features();
                assert!(
                    has.iter()
                        .all(|name| !expected.ends_with(&format!(" {name}")))
                );
            }
        }
        assert_eq!(Isa::named("avx1024"), None);
    }
}
