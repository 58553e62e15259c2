#!/usr/bin/env bash
# What can only be measured on a GPU, in about six minutes, for whoever has one for a moment:
#
#   tools/gpu_check.sh [FOLDER]      writes FOLDER (outputs/gpu_check) and prints a summary
#
# Networks have random weights, so that nothing is downloaded; only the embedded zoo's are real.
# A check that fails or takes too long is said to, and does not hold up the others.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-outputs/gpu_check}")
python=${PYTHON:-python}

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "There is no GPU here that PyTorch can use; nothing was measured." >&2
    echo "Run it where nvidia-smi shows one, with a CUDA build of PyTorch." >&2
    exit 1
fi
mkdir -p "$out"
export WANDB_MODE=disabled ROSETTA_CACHE="$out/cache"
failed=0

check() { # NAME SECONDS COMMAND...: at most so long, its output into a file
    local name=$1 limit=$2 started code=0
    shift 2
    started=$EPOCHREALTIME
    timeout "$limit" "$@" >"$out/$name.txt" 2>&1 || code=$?
    printf '%-28s %6.1f s  %s\n' "$name" \
        "$(awk "BEGIN {print $EPOCHREALTIME - $started}")" \
        "$([ $code = 0 ] && echo done || echo "FAILED ($code), see $out/$name.txt")"
    [ $code = 0 ] || failed=1
}
mine() { # NAME SECONDS OPTIONS...
    local name=$1 limit=$2
    shift 2
    check "$name" "$limit" "$python" -m rosetta_lab.mine trainer.enable_progress_bar=false \
        page_images=2 cache=false hydra.run.dir="$out/$name" "$@"
}
bench() { # ROW PRODUCTS OPTIONS...
    local row=$1 products=$2
    shift 2
    check "bench_${row}_$products" 60 "$python" -m rosetta_lab.bench mining device=cuda \
        row="$row" products="$products" "$@"
}

{
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
    "$python" -c 'import torch; print("PyTorch", torch.__version__, "CUDA", torch.version.cuda)'
} | tee "$out/machine.txt"

# The products: what the chip does in each arithmetic, and what it does to r.
for products in float32 split tf32 bf16; do
    bench vit_base $products num_images=64 batch_size=32
done
bench embedded float32 num_images=256 batch_size=128
bench resnet50 float32 num_images=64 batch_size=32
bench resnet50_blocks float32 num_images=64 batch_size=32

# The embedded zoo: at most 4 s of mining.
mine embedded 60
# StyleGAN-XL and the paper's four models in 24 GB: 1,600 images in at most 10 minutes.
xl="gen=stylegan_xl disc=[resnet50,dino_vit,mae,clip] weights=random"
for products in float32 split; do
    mine "stylegan_xl_$products" 100 $xl num_images=128 memory=22GB products=$products
done
# StyleGAN3 at 1024 px and DINO ViT: 1,000 images in at most 120 s.
mine stylegan3_1024 60 gen=stylegan3_ffhq 'disc=[dino_vit]' weights=random num_images=128
# Steps of inversions at real size.
for run in stylegan_xl_float32 stylegan3_1024; do
    check "plan_invert_$run" 60 "$python" -m rosetta_lab.plan invert dictionary="$out/$run" \
        zoo=embedded images=rosetta_lab/data/samples format=json device=cuda
done

echo
grep -h "products take\|Correlations cost\|Rosetta neurons in\|images/s" "$out"/*.txt || true
echo "Results: $out"
exit $failed
