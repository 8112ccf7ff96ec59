#!/usr/bin/env bash
# Measures this machine's GPU in under nine minutes, or more of it in more:
#
#     benchmarks/gpu.sh [DIR]
#     FCN_MINUTES=60 benchmarks/gpu.sh [DIR]
#
# It runs one `fcn bench` after another until the time is up, the most wanted first: `train` and
# `predict` into DIR, then the parts at the end of this file, each into a folder of its own below DIR.
# The one that runs when the time is up is interrupted: rows that were not reached say so, and `fcn bench
# --resume FOLDER` goes on with them. Parts that were not begun are named. `accuracy` is left out, since it
# trains for longer, and `scale` where there is one GPU.
#
# Each row has one process, because compiling alone takes a minute and a half in some. So there are rates
# of many rows, and no verdict on which of them differ.
#
# With FCN_CASES, FCN_TRACKS or FCN_OPTIONS (options of `fcn bench`) there is one benchmark alone, of these
# cases (all but `accuracy` and `first_step`), tracks and options. Verdicts on the rows of training:
#
#     FCN_CASES=train FCN_PROCESSES=5 FCN_MINUTES=20 FCN_BATCH_SIZES=32 FCN_PRECISIONS=bfloat16 \
#         benchmarks/gpu.sh DIR2
#
# With uv and a network, it first makes an environment for each backend and one for the benchmark itself,
# below DIR/environments; that takes minutes more. Otherwise it uses the frameworks that $PYTHON (python3)
# has. A backend that cannot run has rows that say why.
#
#     FCN_MINUTES      minutes of measuring (8.4)
#     FCN_BATCH_SIZES  the first is that of most parts ("32 8")
#     FCN_PRECISIONS   likewise ("bfloat16 tf32 float32")
#     FCN_CROP         height and width ("320 480")
#     FCN_PROCESSES    of each row (1)
#     FCN_ROUNDS       of each process (those of `fcn bench`)
#     FCN_DEVICE       cpu tries the script without a GPU (gpu)
#     FCN_NO_NETWORK   1 uses the frameworks of $PYTHON
#
# The exit status is the highest of its benchmarks; that of one whose time was up counts as 0.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-runs/gpu-$(date +%Y%m%d-%H%M%S)}
python=${PYTHON:-python3}
device=${FCN_DEVICE:-gpu}
minutes=${FCN_MINUTES:-8.4}
if ! [[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
    echo "error: FCN_MINUTES=$minutes: expected a number, such as 8.4" >&2
    exit 2
fi
read -ra sides <<<"${FCN_CROP:-320 480}"
read -ra rounds <<<"${FCN_ROUNDS:+--rounds $FCN_ROUNDS}"
read -ra options <<<"${FCN_OPTIONS:-}"
batches=${FCN_BATCH_SIZES:-32,8}
batches=${batches// /,}
batch=${batches%%,*}
processes=${FCN_PROCESSES:-1}
others=epoch,load,backward,upsample,loss,images
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)
if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    IFS=, read -ra cards <<<"$CUDA_VISIBLE_DEVICES"
    gpus=${#cards[@]}
fi
if [ "$device" = cpu ] || [ "$gpus" != 1 ]; then
    others+=,scale # With one GPU there is nothing to compare.
fi
precisions=${FCN_PRECISIONS:-$([ "$device" = cpu ] && echo float32 || echo bfloat16,tf32,float32)}
precisions=${precisions// /,}
precision=${precisions%%,*}
if [ -n "$(ls -A "$out" 2>/dev/null)" ]; then
    echo "error: $out is not empty: name another folder" >&2
    exit 2
fi
mkdir -p "$out"

card=${CUDA_VISIBLE_DEVICES:-0}
capability=$(nvidia-smi --id="${card%%,*}" --query-gpu=compute_cap --format=csv,noheader 2>/dev/null || true)
nvidia-smi >"$out/nvidia-smi.txt" 2>/dev/null || rm -f "$out/nvidia-smi.txt"

# Prints the packages of backend $1 with CUDA. MXNet's builds are of 2022: they know no GPU newer than
# compute capability 8, and come without CUDA's libraries.
packages() {
    case $1 in
    torch) echo "torch>=2.9 torchvision>=0.24" ;;
    jax) echo "jax[cuda12]>=0.8 flax>=0.12 optax>=0.2.6 grain>=0.2.18" ;;
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

# Tells whether packages can be downloaded. It is tried once, because each environment would wait as long.
network() {
    timeout 20 uv pip compile --quiet --no-cache --python "$python" - <<<six >/dev/null 2>&1
}

# Makes the environment $1; the other arguments go to `uv pip install`. Prints a line if it fails.
environment() {
    echo "an environment for $1" >&2
    uv venv --quiet --python "$python" "$environments/$1" &&
        timeout 900 uv pip install --quiet --python "$environments/$1/bin/python" "${@:2}" && return
    echo "no environment for $1: $python is used instead" >&2
    return 1
}

parent=$python
interpreters=()
if [ "$device" != gpu ] || [ -n "${FCN_NO_NETWORK:-}" ]; then
    :
elif ! command -v uv >/dev/null || ! network; then
    echo "no uv or no network: the frameworks of $python are used" >&2
else
    echo 'numpy>=2.3' >"$out/overrides.txt" # MXNet asks for an older one; mxnet_impl/compat.py adds what it misses.
    environments=$(realpath "$out")/environments
    if environment parent -r pyproject.toml; then
        parent=$environments/parent/bin/python
    fi
    for backend in torch mxnet jax tf; do
        place=$environments/$backend
        read -ra wanted <<<"$(packages "$backend")"
        [ ${#wanted[@]} -gt 0 ] || continue
        if environment "$backend" --override "$out/overrides.txt" \
            numpy pillow nvidia-ml-py "${wanted[@]}"; then
            libraries=$(find "$place" -path '*/nvidia/*/lib' -type d -printf '%p:')
            printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' \
                "$([ "$backend" = mxnet ] && echo "$libraries")\$LD_LIBRARY_PATH" \
                "$place/bin/python" >"$place/python"
            chmod +x "$place/python"
            interpreters+=(--python "$backend=$place/python")
        fi
    done
fi

end=$((SECONDS + $(awk -v minutes="$minutes" 'BEGIN { printf "%d", 60 * minutes }')))
status=0

# Runs a benchmark into the folder $1 in what is left of the time; the other arguments are its options.
measure() {
    local left=$((end - SECONDS)) own=0
    timeout --foreground --signal INT --kill-after 30 $((left > 1 ? left : 1)) \
        "$parent" -m benchmarks.cli bench --out "$1" --force --device "$device" --crop "${sides[@]}" \
        --processes "$processes" --seconds 0.2 --timeout 150 \
        ${interpreters[@]+"${interpreters[@]}"} "${@:2}" || own=$?
    case $own in
    124) echo "the time is up" >&2 && own=0 ;;
    130) exit 130 ;;
    137)
        echo "error: killed, 30 s after the interrupt or because memory ran out; bench.json holds the finished" \
            "rows, and \`fcn report $1\` writes their page" >&2
        ;;
    esac
    if [ -e "$1/bench.json" ]; then
        echo "results: $1" >&2
    fi
    status=$((own > status ? own : status))
}

if [ -n "${FCN_CASES:-}${FCN_TRACKS:-}${FCN_OPTIONS:-}" ]; then
    measure "$out" --cases "${FCN_CASES:-train,predict,$others}" --track "${FCN_TRACKS:-default}" \
        --batch-sizes "$batches" --precision "$precisions" \
        ${rounds[@]+"${rounds[@]}"} ${options[@]+"${options[@]}"}
    exit $status
fi

least=60 # Seconds in which a part may have a row.
missed=()

# Runs the part $1, into a folder of that name below DIR; the other arguments are its options.
part() {
    if [ $((end - SECONDS)) -lt $least ]; then
        missed+=("$1")
    else
        measure "$out/$1" "${@:2}"
    fi
}

# Runs the part $1 of training steps with the environment variable $2, NAME=VALUE, which its rows state; the
# other arguments are options. Their rates are read beside the default's: no ratio crosses such a variable.
# What a switch changes stands in the trace. Two of them try several kernels, so compiling takes longer.
switched() {
    local -x "$2"
    part "$1" --cases train --profile --timeout 400 "${usual[@]}" "${@:3}"
}

with_rounds=(--precision "$precision" ${rounds[@]+"${rounds[@]}"})
usual=(--batch-sizes "$batch" "${with_rounds[@]}")
gains=default,native-upsampling,without-pool-selections,without-loss-comparison,without-channels-last
gains+=,without-fused-norm,without-onednn-relu,without-loss-last-axis
if [ "$device" = gpu ]; then
    gains+=,without-compile # A default on GPUs alone.
fi
measure "$out" --cases train,predict "${usual[@]}"
if [ $status -gt 0 ] && ! grep -qs '"figures": {' "$out/bench.json"; then
    end=$SECONDS # No part would have a figure.
fi
larger="$((2 * batch)),$((4 * batch)),$((8 * batch))"
part larger-batches --cases train --batch-sizes "$larger" "${with_rounds[@]}"
part fcn8s --cases train,predict --head fcn8s "${usual[@]}"
part profiles --cases train --profile "${usual[@]}"
if [ "$device" = gpu ]; then
    xla="XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }--xla_gpu"
    kernels=+CUDNN,+CONDITIONAL,+WHILE
    switched xla-graphs "${xla}_enable_command_buffer=$kernels --xla_gpu_graph_min_graph_size=1" --backends jax
    switched xla-latency-hiding "${xla}_enable_latency_hiding_scheduler=true" --backends jax
    switched xla-autotuning "${xla}_exhaustive_tiling_search=true" --backends jax
    switched inductor-autotuning TORCHINDUCTOR_MAX_AUTOTUNE=1 --backends torch
fi
if [ "$precisions" != "$precision" ]; then
    part precisions --cases train,predict "${usual[@]}" --precision "${precisions#*,}"
fi
part others --cases "$others" "${usual[@]}"
part first-steps --cases first_step --batch-sizes "$batch" --precision "$precision"
if [ "$batches" != "$batch" ]; then
    part other-batches --cases train,predict --batch-sizes "${batches#*,}" "${with_rounds[@]}"
fi
part gains --cases train --track $gains "${usual[@]}"
if [ ${#missed[@]} -gt 0 ]; then
    echo "not measured: ${missed[*]} (FCN_MINUTES says how long is measured)" >&2
fi
exit $status
