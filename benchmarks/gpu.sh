#!/usr/bin/env bash
# Measures what can be measured on this machine's GPU, in under nine minutes, into one folder:
#
#     benchmarks/gpu.sh [DIR]
#
# Where uv and a network are there, an environment for each backend is made first, below
# DIR/environments; elsewhere the frameworks serve that $PYTHON (python3) has. Either way each backend
# has a row, which says why where it has no figures. FCN_DEVICE=cpu tries it without a GPU, other
# variables below set how long and how large.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-runs/gpu-$(date +%Y%m%d-%H%M%S)}
python=${PYTHON:-python3}
device=${FCN_DEVICE:-gpu}
minutes=${FCN_MINUTES:-8.5}
crop=${FCN_CROP:-"320 480"}
batches=${FCN_BATCH_SIZES:-"8 32"}
precisions=${FCN_PRECISIONS:-$([ "$device" = cpu ] && echo float32 || echo bfloat16,tf32,float32)}
if [ -n "$(ls -A "$out" 2>/dev/null)" ]; then
    echo "error: $out is not empty: name another folder" >&2
    exit 2
fi
mkdir -p "$out"

capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 || true)
nvidia-smi >"$out/nvidia-smi.txt" 2>/dev/null || rm -f "$out/nvidia-smi.txt"

# CUDA builds of a backend; those of MXNet are of 2022 and come without CUDA's libraries.
packages() {
    case $1 in
    torch) echo "torch>=2.9 torchvision>=0.24" ;;
    jax) echo "jax[cuda12]>=0.8 flax>=0.12 optax>=0.2.6" ;;
    tf) echo "tensorflow[and-cuda]>=2.20 keras>=3.10" ;;
    mxnet)
        if [ -n "$capability" ] && [ "${capability%%.*}" -lt 9 ]; then
            echo "mxnet-cu117==1.9.1 setuptools<81 requests nvidia-cuda-runtime-cu11" \
                "nvidia-cublas-cu11 nvidia-cudnn-cu11<9 nvidia-cufft-cu11 nvidia-curand-cu11" \
                "nvidia-cusolver-cu11 nvidia-nccl-cu11"
        fi
        ;;
    esac
}

interpreters=()
if [ "$device" = gpu ] && [ -z "${FCN_NO_NETWORK:-}" ] && command -v uv >/dev/null; then
    echo 'numpy>=2.3' >"$out/overrides.txt" # MXNet asks for less, and has what it misses given.
    for backend in torch mxnet jax tf; do
        place=$PWD/$out/environments/$backend
        [ "${out#/}" = "$out" ] || place=$out/environments/$backend
        read -ra wanted <<<"$(packages "$backend")"
        [ ${#wanted[@]} -gt 0 ] || continue
        echo "an environment for $backend" >&2
        if uv venv --quiet --python "$python" "$place" && timeout 900 uv pip install --quiet \
            --python "$place/bin/python" --override "$out/overrides.txt" \
            numpy pillow nvidia-ml-py "${wanted[@]}"; then
            libraries=$(find "$place" -path '*/nvidia/*/lib' -type d -printf '%p:')
            printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' \
                "$([ "$backend" = mxnet ] && echo "$libraries")\$LD_LIBRARY_PATH" \
                "$place/bin/python" >"$place/python"
            chmod +x "$place/python"
            interpreters+=(--python "$backend=$place/python")
        else
            echo "no environment for $backend: $python serves" >&2
        fi
    done
fi

# Each part goes on until the time is up; what it has measured by then is in its files.
SECONDS=0 status=0
limit=$("$python" -c "print(int($minutes * 60))")
part() {
    local left=$((limit - SECONDS)) folder=$1 ended=0
    shift
    [ $left -ge 30 ] || return 0
    # shellcheck disable=SC2086
    timeout --foreground --signal INT --kill-after 20 $left "$python" -m benchmarks.cli bench \
        --out "$folder" --force --device "$device" --crop $crop --precision "$precisions" --rounds 5 \
        --seconds 0.2 --timeout 240 ${interpreters[@]+"${interpreters[@]}"} "$@" || ended=$?
    case $ended in
    0) ;;
    124 | 130) echo "the time is up: fcn bench --resume $folder goes on" >&2 ;;
    *) status=$ended ;;
    esac
}

first=${batches%% *}
part "$out" --batch-sizes "$first" --cases train,predict,upsample,loss
for batch in $batches; do
    [ "$batch" = "$first" ] || part "$out/batch-$batch" --batch-sizes "$batch" --cases train,predict
done
part "$out/first-step" --batch-sizes "$first" --cases first_step --rounds 2
echo "results: $out (bench.json, bench.txt, report.html) after $SECONDS s" >&2
exit $status
