//! Whether this machine runs under a hypervisor, as far as the processor says so: then an earlier state of it can be resumed from outside,
//! and nothing in it would notice (docs/decisions/prepared-nonces.md).

/// What an operator is told who has declared that no earlier state is resumed.
pub const DOUBT: &str = "this machine is virtual: its hypervisor can resume an earlier state of its memory, unseen from here. What \
                         [threshold] prepared declares must hold for it too; where nobody can say so, take it out of agent.toml";

/// Whether /proc/cpuinfo has it. Where the file is not there or has no such flag, nothing is known and nothing is said.
pub fn is_shown() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| in_flags(&text))
}

/// Linux on x86 lists `hypervisor` (CPUID leaf 1, ECX bit 31) among the flags of each processor.
fn in_flags(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, flags)| {
            name.trim() == "flags" && flags.split_whitespace().any(|flag| flag == "hypervisor")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypervisor_is_a_flag_of_a_processor_and_nothing_else() {
        let cpu = |flags: &str| format!("processor\t: 0\nmodel name\t: X\nflags\t\t: {flags}\n\n");
        assert!(in_flags(&cpu("fpu vme hypervisor lahf_lm")));
        assert!(in_flags(&format!("{}{}", cpu("fpu"), cpu("hypervisor"))));
        for without in [
            String::new(),
            cpu("fpu vme lahf_lm"),
            cpu("no_hypervisor hypervisor2"),
            "model name\t: hypervisor\n".to_owned(),
            "Features\t: fp asimd evtstrm\n".to_owned(),
            "vmx flags\t: hypervisor\n".to_owned(),
        ] {
            assert!(!in_flags(&without), "{without}");
        }
    }
}
