//! Stepping over to another stack and back, leaving nothing behind in registers.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the crucible needs a stack switch: add one for this architecture");

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Which vector registers the processor and the system have; what [`on_stack`] clears.
pub(crate) fn vector_level() -> u32 {
    const UNKNOWN: u32 = u32::MAX;
    static LEVEL: AtomicU32 = AtomicU32::new(UNKNOWN);
    match LEVEL.load(Relaxed) {
        UNKNOWN => {
            let level = detect();
            LEVEL.store(level, Relaxed);
            level
        }
        level => level,
    }
}

/// 0: xmm0–15; 1: ymm0–15; 2: zmm0–31 and k0–7.
#[cfg(target_arch = "x86_64")]
fn detect() -> u32 {
    if std::arch::is_x86_feature_detected!("avx512f") {
        2
    } else if std::arch::is_x86_feature_detected!("avx") {
        1
    } else {
        0
    }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> u32 {
    0
}

/// Calls `f(data)` with the stack pointer at `top`, then clears every vector register and every general register that a
/// function may leave dirty (the others hold this caller's own values again).
///
/// # Safety
/// `top` is 16-aligned, with enough writable memory below it that nobody else uses; `f` accepts `data` and does not unwind;
/// `level` is what [`vector_level`] says.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn on_stack(
    top: usize,
    f: unsafe extern "C" fn(*mut ()),
    data: *mut (),
    level: u32,
) {
    // The frame pointer stays in rbp, which `f` must preserve, and so does the level in rbx. The unwinder is told, so
    // that a backtrace from inside a job goes on into its caller.
    std::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "mov ebx, ecx",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "lea rsp, [rbp - 8]",
        "cmp ebx, 1",
        "jb 3f",
        "je 2f",
        ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "vpxord zmm\\n, zmm\\n, zmm\\n",
        ".endr",
        ".irp n,0,1,2,3,4,5,6,7",
        "kxorw k\\n, k\\n, k\\n",
        ".endr",
        "2:",
        "vzeroall",
        "jmp 4f",
        "3:",
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "xorps xmm\\n, xmm\\n",
        ".endr",
        "4:",
        "xor eax, eax",
        "xor ecx, ecx",
        "xor edx, edx",
        "xor esi, esi",
        "xor edi, edi",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "pop rbx",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// As on x86-64. The upper halves of v8–v15 need not be preserved by `f`, the lower ones must: they are saved here.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn on_stack(
    top: usize,
    f: unsafe extern "C" fn(*mut ()),
    data: *mut (),
    level: u32,
) {
    std::arch::naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-80]!",
        ".cfi_def_cfa_offset 80",
        ".cfi_offset x29, -80",
        ".cfi_offset x30, -72",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "stp d8, d9, [sp, #16]",
        "stp d10, d11, [sp, #32]",
        "stp d12, d13, [sp, #48]",
        "stp d14, d15, [sp, #64]",
        "mov sp, x0",
        "mov x0, x2",
        "blr x1",
        "mov sp, x29",
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "movi v\\n\\().2d, #0",
        ".endr",
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
        "mov x\\n, xzr",
        ".endr",
        "ldp d8, d9, [sp, #16]",
        "ldp d10, d11, [sp, #32]",
        "ldp d12, d13, [sp, #48]",
        "ldp d14, d15, [sp, #64]",
        "ldp x29, x30, [sp], #80",
        ".cfi_def_cfa sp, 0",
        "ret",
        ".cfi_endproc",
    )
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::arch::{asm, naked_asm};

    const PATTERN: u64 = 0xe719_c45b_923d_6ea1;

    /// Fills every register that a function may leave dirty with what `data` points to.
    #[unsafe(naked)]
    unsafe extern "C" fn dirty(data: *mut ()) {
        naked_asm!(
            "mov rax, [rdi]",
            "cmp qword ptr [rdi + 8], 1",
            "movq xmm0, rax",
            "punpcklqdq xmm0, xmm0",
            ".irp n,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movdqa xmm\\n, xmm0",
            ".endr",
            "jbe 2f",
            ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vpbroadcastq zmm\\n, rax",
            ".endr",
            ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            "vpbroadcastq zmm\\n, rax",
            ".endr",
            ".irp n,0,1,2,3,4,5,6,7",
            "kmovw k\\n, eax",
            ".endr",
            "2:",
            "mov rcx, rax",
            "mov rdx, rax",
            "mov rsi, rax",
            "mov rdi, rax",
            "mov r8, rax",
            "mov r9, rax",
            "mov r10, rax",
            "mov r11, rax",
            "ret",
        )
    }

    #[repr(C, align(64))]
    struct Stack([u8; 4096]);

    #[test]
    fn nothing_of_a_job_stays_in_registers() {
        let mut stack = Box::new(Stack([0; 4096]));
        let level = vector_level();
        let mut data = [PATTERN, u64::from(level)];
        let mut general = [!0u64; 9];
        let mut vectors = [!0u64; 32 * 8];
        // SAFETY: `dirty` needs 16 bytes of stack; what is called clobbers what the C ABI says, and rbx is saved by hand.
        unsafe {
            asm!(
                "call {f}",
                "mov [r12], rax", "mov [r12+8], rcx", "mov [r12+16], rdx", "mov [r12+24], rsi", "mov [r12+32], rdi",
                "mov [r12+40], r8", "mov [r12+48], r9", "mov [r12+56], r10", "mov [r12+64], r11",
                "cmp r14d, 2",
                "jb 2f",
                ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                "vmovdqu64 [r13 + 64 * \\n], zmm\\n",
                ".endr",
                "jmp 3f",
                "2:",
                ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "movdqu [r13 + 64 * \\n], xmm\\n",
                ".endr",
                "3:",
                f = sym on_stack,
                in("rdi") stack.0.as_mut_ptr() as usize + 4096,
                in("rsi") dirty as unsafe extern "C" fn(*mut ()),
                in("rdx") data.as_mut_ptr(),
                in("ecx") level,
                in("r12") general.as_mut_ptr(),
                in("r13") vectors.as_mut_ptr(),
                in("r14d") level,
                clobber_abi("C"),
            );
        }
        assert_eq!(general, [0; 9]);
        for (i, lane) in vectors.iter().enumerate() {
            assert!(*lane != PATTERN, "vector register {}", i / 8);
        }
    }

    #[test]
    fn a_job_runs_on_the_stack_it_is_given() {
        extern "C" fn job(data: *mut ()) {
            let here = 0u8;
            // SAFETY: the test's own variable.
            unsafe { *data.cast::<usize>() = &raw const here as usize };
        }
        let mut stack = Box::new(Stack([0; 4096]));
        let low = stack.0.as_mut_ptr() as usize;
        let mut at = 0usize;
        // SAFETY: 4096 bytes are ample.
        unsafe { on_stack(low + 4096, job, (&raw mut at).cast(), vector_level()) };
        assert!((low..low + 4096).contains(&at));
    }
}
