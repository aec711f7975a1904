/// What a store may hold. Each limit is a setting; reaching one fails the upload that reached it and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tasks.
    pub tasks_max: usize,
    /// Bytes of one adapter file.
    pub adapter_bytes_max: u64,
    /// Versions kept per task; the oldest inactive ones go first, the active and the newest one never. At least 2.
    pub versions_per_task_max: usize,
    /// Bytes that an upload must leave free on the disk.
    pub free_disk_bytes_min: u64,
    /// Bytes of inactive versions kept in memory for `?version=`; the newest asked for stays even if it is larger.
    pub cached_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tasks_max: 4096,
            adapter_bytes_max: 64 << 20,
            versions_per_task_max: 20,
            free_disk_bytes_min: 256 << 20,
            cached_bytes_max: 256 << 20,
        }
    }
}
