for scope, (tables, _) in SCOPES.items():

    rule:
        name:
            f"collect_results_of_{scope}"
        input:
            FILES.get_evaluations(tables),
        output:
            results=report(
                str(COLLECTED[scope]),
                "../report/results.rst",
                category="Tables",
                labels={"table": f"results of the {scope}"},
            ),
        log:
            PROFILE.log(f"collect_results/{scope}"),
        benchmark:
            PROFILE.job(f"collect_results/{scope}")
        conda:
            "../envs/tables.yaml"
        threads: 1
        resources:
            mem_mb=500,
            runtime=5,
        params:
            settings=get_settings("evaluation.denominator"),
            code=hash_sources("collect-results"),
            config=get_config_file,
        message:
            "One row for each run, seed and benchmark"
        shell:
            "python -m opentrans collect-results --config {params.config:q} --evaluations {input:q}"
            " --output {output.results:q} > {log:q} 2>&1"


rule make_table:
    input:
        evaluations=for_table(FILES.get_evaluations),
        costs=for_table(FILES.get_costs),
        cka=for_table(FILES.get_comparisons),
        rounds=for_table(FILES.get_counted_rounds),
        logs=for_table(FILES.get_counted_logs),
        experiments=EXPERIMENT_TABLE,
        paper=PAPER,
        captions=get_table_captions,
    output:
        report(
            str(PROFILE.table("table{number}", "csv")),
            "../report/table.rst",
            category="Tables",
            labels={"table": "{number}"},
        ),
        PROFILE.table("table{number}", "md"),
        PROFILE.table("table{number}", "tex"),
        PROFILE.table("table{number}", "html"),
    log:
        PROFILE.log("make_tables/table{number}"),
    benchmark:
        PROFILE.job("make_tables/table{number}")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=get_settings("profile", "seeds", "benchmarks"),
        code=hash_sources("make-tables"),
        caption=read_table_caption,
        folder=get_folder,
        config=get_config_file,
    message:
        "The paper's table {wildcards.number}"
    shell:
        "python -m opentrans make-tables --config {params.config:q} --evaluations {input.evaluations:q}"
        " --costs {input.costs:q} --cka {input.cka:q} --rounds {input.rounds:q} --logs {input.logs:q}"
        " --experiments {input.experiments:q} --paper {input.paper:q} --captions {input.captions:q}"
        " --tables {wildcards.number:q} --output-dir {params.folder:q} > {log:q} 2>&1"


rule judge_claims:
    input:
        results=COLLECTED["report"],
        costs=FILES.get_costs(FILES.all_tables),
        cka=FILES.get_comparisons(FILES.all_tables),
        alphas=FILES.get_traces(),
        rounds=FILES.get_counted_rounds(FILES.all_tables),
        logs=FILES.get_counted_logs(FILES.all_tables),
        experiments=EXPERIMENT_TABLE,
        claims=CLAIMS,
        paper=PAPER,
    output:
        table=report(
            str(PROFILE.collected("claims")),
            "../report/claims.rst",
            category="Claims",
            labels={"table": "claims of the paper"},
        ),
        text=PROFILE.collected("claims", "md"),
        html=PROFILE.collected("claims", "html"),
    log:
        PROFILE.log("judge_claims"),
    benchmark:
        PROFILE.job("judge_claims")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=get_settings("profile", "seeds", "benchmarks", "skip"),
        code=hash_sources("judge-claims"),
        config=get_config_file,
    message:
        "Which of the paper's claims hold in this run"
    shell:
        "python -m opentrans judge-claims --config {params.config:q} --results {input.results:q} --costs {input.costs:q}"
        " --cka {input.cka:q} --alphas {input.alphas:q} --rounds {input.rounds:q} --logs {input.logs:q}"
        " --experiments {input.experiments:q} --claims {input.claims:q} --paper {input.paper:q}"
        " --output {output.table:q} --markdown {output.text:q} --html {output.html:q} > {log:q} 2>&1"


rule make_metrics:
    input:
        results=COLLECTED["summary"],
    output:
        metrics=PROFILE.collected("metrics", "json"),
        plot=PROFILE.collected("miou"),
    log:
        PROFILE.log("make_metrics"),
    benchmark:
        PROFILE.job("make_metrics")
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=hash_sources("make-metrics"),
        config=get_config_file,
    message:
        "mIoU in the forms that DVC compares between commits"
    shell:
        "python -m opentrans make-metrics --config {params.config:q} --results {input.results:q}"
        " --metrics {output.metrics:q} --plot {output.plot:q} > {log:q} 2>&1"
