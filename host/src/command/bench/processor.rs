//! The processor's name, for results. The tools of xtask that measure include this file.

/// The name, family and model as Linux tells them; on arm64, the numbers of the implementer and the part.
pub(crate) fn processor() -> String {
    described(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn described(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.trim() == name);
        found.map(|(_, value)| value.trim())
    };
    match (field("model name"), field("cpu family"), field("model")) {
        (Some(name), Some(family), Some(model)) => {
            format!("{name} (family {family} model {model})")
        }
        (Some(name), ..) => name.to_owned(),
        (None, ..) => match (field("CPU implementer"), field("CPU part")) {
            (Some(implementer), Some(part)) => format!("implementer {implementer} part {part}"),
            _ => "unknown".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::described;

    #[test]
    fn the_name_is_as_exact_as_the_system_tells() {
        let x86 = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n";
        assert_eq!(described(x86), "AMD EPYC (family 25 model 17)");
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n";
        assert_eq!(described(arm), "implementer 0x41 part 0xd4f");
        assert_eq!(described(""), "unknown");
    }
}
