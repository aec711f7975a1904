//! The allocator, asked by hand where a server frees much at once.
#![allow(unsafe_code, reason = "the one call of glibc's allocator interface")]

/// Gives freed memory back to the system. Loading a backbone frees as much as it keeps, in pieces that lie below what
/// stays, and glibc gives back only what lies on top: without this call a server with a ViT-B/16 holds 298 MB when it
/// is ready, of which it uses 171.
pub fn give_back_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: no argument is a pointer, and the allocator locks its own arenas (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}
