for scope, (tables, figures) in SCOPES.items():

    rule:
        name:
            f"make_{scope}"
        input:
            tables=FILES.get_tables(tables, ["html"]),
            figures=FILES.get_figures(figures, ["svg"]),
            results=COLLECTED[scope],
            claims=[PROFILE.collected("claims", "html")] if scope == "report" else [],
            captions=get_captions(),
        output:
            page=report(
                str(PROFILE.collected(scope, "html")),
                "../report/report.rst",
                category="Summary",
                labels={"page": f"{scope} on one page"},
            ),
        log:
            PROFILE.log(f"make_report/{scope}"),
        benchmark:
            PROFILE.job(f"make_report/{scope}")
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            settings=get_settings(),
            code=hash_sources("make-report"),
            jobs=FILES.get_job_folders(),
            claims=make_options(claims="--claims"),
            config=get_config_file,
        message:
            "One page with everything"
        shell:
            "python -m opentrans make-report --config {params.config:q} --results {input.results:q} --tables {input.tables:q}"
            " --figures {input.figures:q} --captions {input.captions:q} --jobs {params.jobs:q} {params.claims:q} --output {output.page:q}"
            " > {log:q} 2>&1"
