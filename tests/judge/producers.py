"""The same answers written as many producers write them. `python tests/judge/producers.py` remakes files/.

Each writer follows what the producer's own code writes (named beside it), down to names of columns and files.
"""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import safetensors.numpy

FILES = Path(__file__).parent / "files"
CLASSES = ("cat", "dog", "ship")
MODELS = ("resnet", "vit")
SEEDS = (0, 1)
M, K = 12, len(CLASSES)
NAMES = tuple(f"test/{number:03d}.png" for number in range(M))


def truth() -> np.ndarray:
    return np.arange(M) % K


def answers(model: str, seed: int) -> np.ndarray:
    """A class for each test image: resnet is right more often."""
    rng = np.random.default_rng([MODELS.index(model), seed])
    right = rng.random(M) < (0.8 if model == "resnet" else 0.5)
    return np.where(right, truth(), (truth() + 1) % K)


def probabilities(model: str, seed: int) -> np.ndarray:
    """Eighths, so that every format holds them exactly."""
    probs = np.full((M, K), 0.125, dtype=np.float32)
    probs[np.arange(M), answers(model, seed)] = 0.75
    return probs


def rows(path: Path, *table: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(table)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def lines(path: Path, records: list) -> None:
    text(path, "".join(json.dumps(record) + "\n" for record in records))


def write_all(folder: Path = FILES) -> None:
    labels = [CLASSES[label] for label in truth()]
    rows(folder / "labels.csv", ("filename", "label"), *zip(NAMES, labels, strict=True))
    rows(folder / "label_numbers.csv", ("filename", "label"), *zip(NAMES, truth(), strict=True))
    rows(folder / "kaggle_solution.csv", ("id", "label"), *zip(range(1, M + 1), labels, strict=True))
    np.save(folder / "labels.npy", truth())
    for model in MODELS:
        _of_model(folder, model)
        for seed in SEEDS:
            _of_run(folder, model, seed)
    _of_all(folder)


def _of_model(folder: Path, model: str) -> None:
    probs, guess = probabilities(model, 0), answers(model, 0)
    named = [CLASSES[label] for label in guess]
    # timm, inference.py: --topk 1 --label-type name; --results-separate-col; --results-format json, parquet
    top = [0.75] * M
    rows(
        folder / f"timm/{model}-224.csv", ("filename", "label", "prob"), *zip(NAMES, named, top, strict=True)
    )
    second = (guess + 1) % K
    rows(
        folder / f"timm-topk/{model}-224.csv",
        ("filename", "index_0", "index_1", "prob_0", "prob_1"),
        *zip(NAMES, guess, second, top, [0.125] * M, strict=True),
    )
    rows(
        folder / f"timm-all/{model}-224.csv",
        ("filename", "prob_0", "prob_1", "prob_2"),
        *[(name, *map(float, row)) for name, row in zip(NAMES, probs, strict=True)],
    )
    by_name = {name: {"index": int(label), "prob": 0.75} for name, label in zip(NAMES, guess, strict=True)}
    text(folder / f"timm-json/{model}-224.json", json.dumps(by_name, indent=4))
    split = {
        "columns": ["filename", "prob"],
        "data": [[n, p.tolist()] for n, p in zip(NAMES, probs, strict=True)],
    }
    text(folder / f"timm-split/{model}-224.json", json.dumps(split, indent=4))
    (folder / "timm-parquet").mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"prob": probs.tolist(), "filename": NAMES}).write_parquet(
        folder / f"timm-parquet/{model}-224.parquet"
    )
    # mmpretrain before version 1, tools/test.py --out result.json --out-items all
    mm = {
        "class_scores": probs.tolist(),
        "pred_score": top,
        "pred_label": guess.tolist(),
        "pred_class": named,
    }
    text(folder / f"mmpretrain/{model}.json", json.dumps(mm))
    # Kaggle: a submission
    rows(folder / f"kaggle/{model}.csv", ("id", "label"), *zip(range(1, M + 1), named, strict=True))
    # FiftyOne: CSVDataset export with these fields
    rows(
        folder / f"fiftyone/{model}.csv",
        ("filepath", "ground_truth.label", "predictions.label", "predictions.confidence"),
        *[(n, CLASSES[t], g, 0.75) for n, t, g in zip(NAMES, truth(), named, strict=True)],
    )
    # MLflow: the artifact eval_results_table.json of mlflow.evaluate
    table = {
        "columns": ["image", "target", "prediction"],
        "data": [[n, int(t), int(g)] for n, t, g in zip(NAMES, truth(), guess, strict=True)],
    }
    text(folder / f"mlflow/{model}/eval_results_table.json", json.dumps(table))
    # Weights & Biases: a logged Table, media/table/*.table.json
    wandb = {
        "columns": ["id", "image", "truth", "prediction", "score_cat"],
        "data": [
            [n, {"_type": "image-file", "path": "media/images/a.png", "size": 9}, CLASSES[t], g, 0.5]
            for n, t, g in zip(NAMES, truth(), named, strict=True)
        ],
        "ncols": 5,
        "nrows": M,
    }
    text(folder / f"wandb/{model}.table.json", json.dumps(wandb))
    # language-model harnesses: lm-eval --log_samples, Inspect (JSON log), Every Eval Ever (instance level)
    right = guess == truth()
    lines(
        folder / f"lm-eval/org__{model}/samples_arc_easy_2026-05-01T10-00-00.123456.jsonl",
        [
            {
                "doc_id": n,
                "doc": {"question": "?", "answer": "A", "label": 3},
                "target": str(truth()[n]),
                "arguments": [["?", " A"]],
                "resps": [[[-1.5, False]]],
                "filtered_resps": [[-1.5, False]],
                "doc_hash": "0",
                "acc": float(right[n]),
            }
            for n in range(M)
        ],
    )
    inspect = {
        "version": 2,
        "eval": {"task": "arc", "model": f"org/{model}"},
        "samples": [
            {
                "id": n,
                "epoch": seed + 1,
                "input": "?",
                "target": "A",
                "scores": {"choice": {"value": "C" if ok else "I", "answer": "A"}},
            }
            for seed in SEEDS
            for n, ok in enumerate(answers(model, seed) == truth())
        ],
    }
    text(folder / f"inspect/{model}.json", json.dumps(inspect))
    lines(
        folder / f"every-eval-ever/{model}.jsonl",
        [
            {
                "schema_version": "1.0",
                "evaluation_id": f"arc/org/{model}/1707000000",
                "model_id": f"org/{model}",
                "sample_id": f"arc_{n:04d}",
                "interaction_type": "single_turn",
                "input": {"raw": "?", "reference": "A"},
                "output": {"raw": "A"},
                "answer_attribution": [{"turn_idx": 0, "source": "output.raw"}],
                "evaluation": {"score": float(right[n]), "is_correct": bool(right[n])},
            }
            for n in range(M)
        ],
    )
    # evalci: a CSV an item, and its lm-eval JSON; statgate: JSON Lines
    rows(folder / f"evalci/{model}.csv", ("item_id", "score"), *enumerate(right.astype(float)))
    samples = {"samples": {"arc": [{"doc_id": n, "acc": float(ok)} for n, ok in enumerate(right)]}}
    text(folder / f"evalci-json/{model}.json", json.dumps(samples))
    lines(
        folder / f"statgate/{model}.jsonl",
        [
            {"case_id": f"case-{n:03d}", "score": 0.5 + 0.2 * ok, "passed": bool(ok)}
            for n, ok in enumerate(right)
        ],
    )


def _of_run(folder: Path, model: str, seed: int) -> None:
    probs, guess = probabilities(model, seed), answers(model, seed)
    for name in ("keras", "hugging-face", "safetensors"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # Keras: np.save of model.predict(images); fastai: of get_preds()[0]
    np.save(folder / f"keras/{model}_seed{seed}.npy", probs)
    # Hugging Face: np.savez of what Trainer.predict returns
    np.savez(folder / f"hugging-face/{model}-seed-{seed}.npz", predictions=np.log(probs), label_ids=truth())
    safetensors.numpy.save_file(
        {"probs": probs, "labels": truth()}, folder / f"safetensors/{model}_seed{seed}.safetensors"
    )
    # WILDS: one label a line, no header; the algorithm is the folder
    name = f"camelyon17_split:test_seed:{seed}_epoch:best_pred.csv"
    rows(folder / "wilds" / model / name, *[[label] for label in guess])


def _of_all(folder: Path) -> None:
    # evalstats: template, input, score, run
    runs = [(m, s, answers(m, s)) for m in MODELS for s in SEEDS]
    rows(
        folder / "evalstats.csv",
        ("template", "input_id", "run", "score"),
        *[(m, n, s, float(ok)) for m, s, guess in runs for n, ok in enumerate(guess == truth())],
    )
    # Multi-Bootstrap (preds[runs, examples]) and logits of many runs (runs, images, classes)
    for name in ("multi-bootstrap", "many-logits"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for model in MODELS:
        np.save(folder / f"multi-bootstrap/{model}.npy", np.stack([answers(model, s) for s in SEEDS]))
        logits = np.stack([np.log(probabilities(model, s)) for s in SEEDS]).astype(np.float16)
        np.save(folder / f"many-logits/{model}.npy", logits)
    # OpenML: predictions.arff of a run; a fold is other training data, not another seed
    for model in MODELS:
        head = [
            f"@RELATION openml_task_7_predictions_{model}",
            "@ATTRIBUTE repeat NUMERIC",
            "@ATTRIBUTE fold NUMERIC",
            "@ATTRIBUTE row_id NUMERIC",
            *[f"@ATTRIBUTE confidence.{name} NUMERIC" for name in CLASSES],
            f"@ATTRIBUTE prediction {{{','.join(CLASSES)}}}",
            f"@ATTRIBUTE correct {{{','.join(CLASSES)}}}",
            "@DATA",
        ]
        table = [
            f"{repeat},{n % 3},{n},{','.join(map(str, map(float, probabilities(model, repeat)[n])))},"
            f"{CLASSES[answers(model, repeat)[n]]},{CLASSES[truth()[n]]}"
            for repeat in SEEDS
            for n in range(M)
        ]
        text(folder / f"openml/{model}.arff", "\n".join([*head, *table]) + "\n")
    # what is refused: timm's validate.py and results/*.csv, a detector's predictions.json, pickles
    rows(
        folder / "refused/timm-results.csv",
        ("model", "top1", "top1_err", "top5", "top5_err", "param_count", "img_size"),
        ("resnet", 90.1, 9.9, 99.0, 1.0, 25.6, 224),
        ("vit", 80.1, 19.9, 98.0, 2.0, 86.6, 224),
    )
    boxes = [{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.9} for _ in range(2)]
    text(folder / "refused/predictions.json", json.dumps(boxes))
    for name in ("mmpretrain.pkl", "predictions_0.pt", "model.joblib"):
        (folder / "refused" / name).write_bytes(pickle.dumps({"predictions": [1, 2, 3]}))
    np.save(folder / "refused/objects.npy", np.array([{"label": 1}], dtype=object), allow_pickle=True)


if __name__ == "__main__":
    write_all()
