rule collect_results:
    input:
        get_evaluations(),
    output:
        results=f"{RESULTS}/results.csv",
    log:
        f"{LOGS}/collect_results.log",
    benchmark:
        f"{JOBS}/collect_results.tsv"
    params:
        settings=get_settings("evaluation.denominator"),
        code=get_code("collect-results"),
        config=SETTINGS,
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    conda:
        "../envs/tables.yaml"
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
        get_tables(),
    log:
        f"{LOGS}/make_tables.log",
    benchmark:
        f"{JOBS}/make_tables.tsv"
    params:
        settings=get_settings("profile", "tables", "seeds", "benchmarks"),
        code=get_code("make-tables"),
        folder=f"{RESULTS}/tables",
        config=SETTINGS,
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    conda:
        "../envs/tables.yaml"
    message:
        "The paper's tables"
    shell:
        "python -m opentrans make-tables --config {params.config} --results {input.results} --costs {input.costs}"
        " --experiments {input.experiments} --paper {input.paper} --output-dir {params.folder} > {log} 2>&1"


rule make_figures:
    input:
        results=f"{RESULTS}/results.csv",
    output:
        get_figures(),
    log:
        f"{LOGS}/make_figures.log",
    benchmark:
        f"{JOBS}/make_figures.tsv"
    params:
        settings=get_settings("profile", "seeds", "benchmarks"),
        code=get_code("make-figures"),
        folder=f"{RESULTS}/figures",
        config=SETTINGS,
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    conda:
        "../envs/tables.yaml"
    message:
        "Figures"
    shell:
        "python -m opentrans make-figures --config {params.config} --results {input.results}"
        " --output-dir {params.folder} > {log} 2>&1"
