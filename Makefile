# The two that a newcomer needs: `make demo` and `make test`. Downloads go to cache/ once and are checked by SHA-256.
.PHONY: demo test lint bench load parity backbone onnxruntime onnxruntime-tested build

BINARY := target/release/manylens
BACKBONE := cache/models/vit-s14-focus
ONNXRUNTIME := 1.32.0

# A server with a real backbone and three tasks; classifies sample pictures over HTTP and prints the answers.
demo: backbone build
	@scripts/demo $(BINARY) $(BACKBONE)

test: backbone onnxruntime-tested
	cargo test --locked

lint:
	python3 -m unittest discover --start-directory scripts/lib
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

bench: backbone onnxruntime
	cargo bench --locked

# Overload, hot swap under load, kill -9, handover, a thousand adapters, footprint: about twelve minutes on an idle machine.
load: backbone build
	scripts/load/swap --binary $(BINARY)
	scripts/load/overload --binary $(BINARY)
	scripts/load/crash --binary $(BINARY)
	scripts/load/handover --binary $(BINARY)
	scripts/load/thousand --binary $(BINARY)
	scripts/load/footprint --binary $(BINARY)

# Agreement with the PyTorch reference; REFERENCE is the folder that holds its adapters/ and data/.
parity: backbone onnxruntime build
	scripts/parity $(REFERENCE) --binary $(BINARY)

backbone:
	@scripts/demo-backbone >/dev/null

onnxruntime:
	@scripts/onnxruntime/fetch.sh $(ONNXRUNTIME)

# Every release that the tests run.
onnxruntime-tested:
	@scripts/onnxruntime/fetch.sh

build:
	cargo build --release --locked
