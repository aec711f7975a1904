use super::pickle::TensorView;

/// Number of values, after checking that each lies inside the storage.
pub fn extent(view: &TensorView<'_>) -> Result<usize, String> {
    if view.shape.len() != view.strides.len() {
        return Err(format!("{} sizes, but {} strides", view.shape.len(), view.strides.len()));
    }
    let overflow = || "sizes and strides overflow".to_owned();
    let values = view.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).ok_or_else(overflow)?;
    if values == 0 {
        return Ok(0);
    }
    let reach = view.shape.iter().zip(&view.strides);
    let last = reach.map(|(&size, &stride)| (size - 1).checked_mul(stride));
    let last = last.into_iter().try_fold(view.offset, |sum, step| sum.checked_add(step?)).ok_or_else(overflow)?;
    if last >= view.storage.len {
        return Err(format!("reaches value {last} of a storage of {}", view.storage.len));
    }
    Ok(values)
}

/// The view's values in row-major order; `extent` has checked that all are there.
pub fn gather(flat: &[f32], view: &TensorView<'_>, values: usize) -> Vec<f32> {
    let mut index = vec![0usize; view.shape.len()];
    let mut out = Vec::with_capacity(values);
    while out.len() < values {
        let at = view.offset + index.iter().zip(&view.strides).map(|(i, stride)| i * stride).sum::<usize>();
        out.push(flat[at]);
        for (i, size) in index.iter_mut().zip(&view.shape).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::import::pickle::Storage;
    use crate::tensors::Dtype;

    fn view(offset: usize, shape: &[usize], strides: &[usize]) -> TensorView<'static> {
        let storage = Storage { dtype: Dtype::F32, key: "0", len: 6 };
        TensorView { storage, offset, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn any_strides_inside_the_storage_are_read() {
        let flat = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let read = |view: TensorView<'_>| extent(&view).map(|values| gather(&flat, &view, values));
        assert_eq!(read(view(0, &[2, 3], &[3, 1])), Ok(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(read(view(0, &[3, 2], &[1, 3])), Ok(vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        assert_eq!(read(view(5, &[2], &[0])), Ok(vec![5.0, 5.0]));
        assert_eq!(read(view(2, &[], &[])), Ok(vec![2.0]));
        assert_eq!(read(view(9, &[0, 4], &[1, 1])), Ok(vec![]));
    }

    #[test]
    fn strides_out_of_the_storage_are_refused() {
        for (offset, shape, strides) in [
            (6, &[1][..], &[1][..]),
            (0, &[7], &[1]),
            (4, &[2, 2], &[1, 1]),
            (0, &[2], &[1, 1]),
            (0, &[usize::MAX, 2], &[0, 0]),
            (0, &[2], &[usize::MAX]),
            (usize::MAX, &[2], &[1]),
        ] {
            assert!(extent(&view(offset, shape, strides)).is_err(), "{offset} {shape:?} {strides:?}");
        }
    }
}
