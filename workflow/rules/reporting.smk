rule collect_results:
    input:
        get_evaluations(),
    output:
        results=report(
            f"{RESULTS}/results.csv",
            "../report/results.rst",
            category="Tables",
            labels={"table": "all results"},
        ),
    log:
        f"{LOGS}/collect_results.log",
    benchmark:
        f"{JOBS}/collect_results.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=get_settings("evaluation.denominator"),
        code=get_code("collect-results"),
        config=SETTINGS,
    message:
        "One row for each run, seed and benchmark"
    shell:
        "python -m opentrans collect-results --config {params.config} --evaluations {input} --output {output.results}"
        " > {log} 2>&1"


rule make_tables:
    input:
        costs=get_costs(),
        results=f"{RESULTS}/results.csv",
        experiments=SHEET,
        paper=PAPER,
    output:
        mark_tables(),
    log:
        f"{LOGS}/make_tables.log",
    benchmark:
        f"{JOBS}/make_tables.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=get_settings("profile", "tables", "seeds", "benchmarks"),
        code=get_code("make-tables"),
        tables=CONFIG.tables,
        folder=get_folder,
        config=SETTINGS,
    message:
        "The paper's tables"
    shell:
        "python -m opentrans make-tables --config {params.config} --results {input.results} --costs {input.costs}"
        " --experiments {input.experiments} --paper {input.paper} --tables {params.tables} --output-dir {params.folder} > {log} 2>&1"


rule make_metrics:
    input:
        results=f"{RESULTS}/results.csv",
    output:
        metrics=f"{RESULTS}/metrics.json",
        plot=f"{RESULTS}/miou.csv",
    log:
        f"{LOGS}/make_metrics.log",
    benchmark:
        f"{JOBS}/make_metrics.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=get_code("make-metrics"),
        config=SETTINGS,
    message:
        "mIoU in the forms that DVC compares between commits"
    shell:
        "python -m opentrans make-metrics --config {params.config} --results {input.results}"
        " --metrics {output.metrics} --plot {output.plot} > {log} 2>&1"
