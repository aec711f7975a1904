//! The only file that knows the C library.
//!
//! Shape of the danger: the library is given one read-only buffer (`bytes`, which outlives the decoder by lifetime)
//! and rows of one zeroed output buffer whose size is checked against what the library itself reports. It reports
//! fatal errors by calling `error_exit`, which must not return: it unwinds (the C code is compiled for that) to the
//! one `catch_unwind` here, and [`Library`]'s `Drop` frees whatever was allocated.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{mem, ptr};

use mozjpeg_sys as c;

use super::super::error::ImageError;
use super::header::Header;
use super::{FORMAT, bad};

/// `JPEG_HEADER_OK` of jpeglib.h, which the bindings leave out.
const HEADER_OK: i32 = 1;

/// Interleaved samples, `width * height * components`: grey, RGB, or CMYK as stored. Upsampling ("fancy") and inverse
/// DCT ("slow" integer) are the library's defaults, as they are in Pillow.
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Vec<u8>, ImageError> {
    catch_unwind(AssertUnwindSafe(|| Library::new(bytes).decode(header))).unwrap_or_else(|cause| {
        Err(cause.downcast::<Fatal>().map_or_else(|other| resume_unwind(other), |fatal| bad(fatal.0)))
    })
}

/// The library's message, carried by the unwinding.
struct Fatal(String);

/// One decompressor with its error handler and its source, at stable addresses: the library keeps pointers to both.
struct Library<'a> {
    info: Box<c::jpeg_decompress_struct>,
    _errors: Box<c::jpeg_error_mgr>,
    _source: Box<c::jpeg_source_mgr>,
    _bytes: PhantomData<&'a [u8]>,
}

impl<'a> Library<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        // SAFETY: both structs are plain C data (integers, enums with a zero variant, nullable pointers and optional
        // function pointers), for which all zeros is a value; the library fills them in.
        let (mut errors, mut info): (Box<c::jpeg_error_mgr>, Box<c::jpeg_decompress_struct>) =
            unsafe { (Box::new(mem::zeroed()), Box::new(mem::zeroed())) };
        let mut source = Box::new(c::jpeg_source_mgr {
            next_input_byte: bytes.as_ptr(),
            bytes_in_buffer: bytes.len(),
            init_source: Some(nothing),
            fill_input_buffer: Some(no_more),
            skip_input_data: Some(skip),
            resync_to_restart: Some(c::jpeg_resync_to_restart),
            term_source: Some(nothing),
        });
        // SAFETY: the pointers stored in `info` point into boxes that live as long as it does; `create` zeroes
        // everything but `err`, so the source is set after it.
        unsafe {
            c::jpeg_std_error(&mut errors);
            errors.error_exit = Some(unwind);
            errors.emit_message = Some(ignore);
            info.common.err = &mut *errors;
            c::jpeg_create_decompress(&mut *info);
            info.src = &mut *source;
        }
        Self { info, _errors: errors, _source: source, _bytes: PhantomData }
    }

    fn decode(mut self, header: &Header) -> Result<Vec<u8>, ImageError> {
        let info = &mut *self.info;
        let truncated = ImageError::Truncated { format: FORMAT };
        // SAFETY (this and each call below): `info` was created by the library and is used by this thread alone; the
        // calls come in the order that libjpeg.txt prescribes.
        if unsafe { c::jpeg_read_header(info, 1) } != HEADER_OK {
            return Err(truncated);
        }
        if (info.image_width, info.image_height) != (u32::from(header.width), u32::from(header.height)) {
            return Err(bad("its markers contradict each other".into()));
        }
        info.out_color_space = match header.components {
            1 => c::JCS_GRAYSCALE,
            4 => c::JCS_CMYK,
            _ => c::JCS_RGB,
        };
        if unsafe { c::jpeg_start_decompress(info) } == 0 {
            return Err(truncated);
        }
        let stride = usize::from(header.width) * usize::from(header.components);
        if (info.output_components, info.output_width) != (i32::from(header.components), u32::from(header.width)) {
            return Err(bad("its markers contradict each other".into()));
        }
        let mut data = vec![0; stride * usize::from(header.height)];
        for row in data.chunks_exact_mut(stride) {
            let mut row = row.as_mut_ptr();
            // SAFETY: the library writes `output_width * output_components` bytes, which is `stride`, to one row.
            if unsafe { c::jpeg_read_scanlines(info, &mut row, 1) } != 1 {
                return Err(truncated);
            }
        }
        if unsafe { c::jpeg_finish_decompress(info) } == 0 {
            return Err(truncated);
        }
        Ok(data)
    }
}

impl Drop for Library<'_> {
    fn drop(&mut self) {
        // SAFETY: `info` was created by the library; destroying frees its pools and is allowed in every state.
        unsafe { c::jpeg_destroy_decompress(&mut self.info) };
    }
}

/// The file is one buffer: at its end the library is told to wait for more, and its caller says "truncated".
unsafe extern "C-unwind" fn no_more(_: &mut c::jpeg_decompress_struct) -> c::boolean {
    0
}

unsafe extern "C-unwind" fn skip(info: &mut c::jpeg_decompress_struct, bytes: std::os::raw::c_long) {
    // SAFETY: `src` is the source that `Library::new` made. The cursor stays within its buffer: it moves by at most
    // what is left.
    unsafe {
        let source = &mut *info.src;
        let step = usize::try_from(bytes).unwrap_or(0).min(source.bytes_in_buffer);
        source.next_input_byte = source.next_input_byte.add(step);
        source.bytes_in_buffer -= step;
    }
}

unsafe extern "C-unwind" fn nothing(_: &mut c::jpeg_decompress_struct) {}

/// Warnings are ignored, as Pillow does: damaged entropy data shows as a damaged picture.
unsafe extern "C-unwind" fn ignore(_: &mut c::jpeg_common_struct, _: std::os::raw::c_int) {}

unsafe extern "C-unwind" fn unwind(info: &mut c::jpeg_common_struct) {
    let mut message = [0_u8; 80];
    // SAFETY: `err` is the handler that `Library::new` made; `format_message` writes at most 80 bytes with a zero.
    unsafe {
        if let Some(format) = (*info.err).format_message {
            let format: unsafe extern "C-unwind" fn(*mut c::jpeg_common_struct, *mut u8) = mem::transmute(format);
            format(ptr::from_mut(info), message.as_mut_ptr());
        }
    }
    let text = message.split(|&byte| byte == 0).next().unwrap_or_default();
    resume_unwind(Box::new(Fatal(String::from_utf8_lossy(text).into_owned())));
}
