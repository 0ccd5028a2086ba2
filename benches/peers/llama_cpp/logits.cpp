// What llama.cpp computes, with keys and values in F32: a peer of `cargo xtask parity`.
//
//     logits MODEL OUT N TOKEN...  writes the logits after each token, and after each of the N tokens that follow them
//                                  greedily, to OUT, in f32; prints those N tokens
//     logits MODEL --embed OUT TOKEN...
//                                  writes the vector of the tokens to OUT, in f32, pooled as the file says, or the outputs of
//                                  its classifier
//     logits MODEL --rank OUT TOKEN...
//                                  the same with its classifier, whether or not the file asks for it
//     logits MODEL --quantize TYPE OUT EXACT
//                                  writes MODEL, whose weights are in F32, with its matrices in TYPE to OUT, and with the
//                                  numbers that these stand for in F32 to EXACT
//     logits MODEL --nll TEXT N    prints, for windows of N tokens of TEXT, the number of scored tokens and their mean
//                                  negative log-likelihood: all tokens that have one before them in their window;
//                                  then the tokens of TEXT
//     logits MODEL --greedy N TEXT...
//                                  prints three lines for each TEXT: its tokens, as a prompt; the N tokens that follow them
//                                  greedily; for each of these, how far its logit is above the second best
//     logits MODEL --tokens TEXTS OUT
//                                  reads texts from TEXTS, each as its length in bytes, a 32-bit number, and its bytes;
//                                  writes the tokens of each to OUT, as their number and then these, in 32 bits; nothing is
//                                  added around a text, and no names of control tokens in it are parsed. MODEL may be just a
//                                  vocabulary
//
// All can begin with `--lora FILE SCALE`, once or more often: an adapter of MODEL.

#include "gguf.h"
#include "llama.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

typedef std::vector<llama_token> tokens_t;

static std::vector<llama_adapter_lora *> adapters;
static std::vector<float>                scales;
static bool                              ranks = false;

// A sequence of tokens, of which each batch is given when the ones before it have been computed.
struct sequence {
    llama_context * context;
    size_t          n_vocab;
    bool            embeds;
    int             n_tokens = 0;

    sequence(llama_model * model, size_t capacity, bool embeds = false) : embeds(embeds) {
        auto params            = llama_context_default_params();
        params.n_ctx           = capacity;
        params.n_batch         = capacity;
        params.n_ubatch        = capacity;
        params.n_threads       = std::thread::hardware_concurrency();
        params.n_threads_batch = params.n_threads;
        params.embeddings      = embeds;
        params.pooling_type    = ranks ? LLAMA_POOLING_TYPE_RANK : LLAMA_POOLING_TYPE_UNSPECIFIED;
        params.type_k          = GGML_TYPE_F32;
        params.type_v          = GGML_TYPE_F32;
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
        context = llama_init_from_model(model, params);
        n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
        if (!context) {
            exit(2);
        }
        if (!adapters.empty() && llama_set_adapters_lora(context, adapters.data(), adapters.size(), scales.data()) != 0) {
            exit(7);
        }
    }

    sequence(const sequence &) = delete;

    ~sequence() {
        llama_free(context);
    }

    // The logits after each of the tokens that are appended, one row after the other; none if they are embedded.
    std::vector<float> append(const tokens_t & tokens) {
        const int   n     = (int) tokens.size();
        llama_batch batch = llama_batch_init(n, 0, 1);
        batch.n_tokens    = n;
        for (int i = 0; i < n; i++) {
            batch.token[i]     = tokens[i];
            batch.pos[i]       = n_tokens + i;
            batch.n_seq_id[i]  = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i]    = 1;
        }
        if (llama_decode(context, batch) != 0) {
            exit(3);
        }
        n_tokens += n;
        std::vector<float> rows;
        for (int i = 0; i < n && !embeds; i++) {
            const float * row = llama_get_logits_ith(context, i);
            rows.insert(rows.end(), row, row + n_vocab);
        }
        llama_batch_free(batch);
        return rows;
    }
};

// The vector of a text, or what a classifier makes of it.
static std::vector<float> embed(llama_model * model, const tokens_t & tokens) {
    sequence sequence(model, tokens.size(), true);
    sequence.append(tokens);
    const bool    is_rank = llama_pooling_type(sequence.context) == LLAMA_POOLING_TYPE_RANK;
    const int     width   = is_rank ? llama_model_n_cls_out(model) : llama_model_n_embd_out(model);
    const float * vector  = llama_get_embeddings_seq(sequence.context, 0);
    if (!vector) {
        exit(6);
    }
    return std::vector<float>(vector, vector + width);
}

static int write(const char * path, const std::vector<float> & numbers) {
    FILE * out = fopen(path, "wb");
    if (!out || fwrite(numbers.data(), sizeof(float), numbers.size(), out) != numbers.size()) {
        return 4;
    }
    return fclose(out);
}

// The tokens of a prompt and the greedy ones after them, and the logits after all of these.
struct continuation {
    tokens_t           greedy;
    std::vector<float> rows;

    continuation(llama_model * model, const tokens_t & prompt, int n) {
        sequence sequence(model, prompt.size() + n);
        rows = sequence.append(prompt);
        while (n-- > 0) {
            const auto last = rows.end() - sequence.n_vocab;
            greedy.push_back(std::max_element(last, rows.end()) - last);
            const std::vector<float> row = sequence.append({ greedy.back() });
            rows.insert(rows.end(), row.begin(), row.end());
        }
    }
};

static tokens_t tokenize(llama_model * model, const char * path, bool as_prompt) {
    std::ifstream      file(path);
    std::stringstream  stream;
    stream << file.rdbuf();
    const std::string text = stream.str();
    tokens_t tokens(text.size() + 8);
    const llama_vocab * vocab = llama_model_get_vocab(model);
    tokens.resize(llama_tokenize(vocab, text.data(), text.size(), tokens.data(), tokens.size(), as_prompt, false));
    return tokens;
}

static void print(const tokens_t & tokens) {
    for (size_t i = 0; i < tokens.size(); i++) {
        printf(i == 0 ? "%d" : " %d", tokens[i]);
    }
    printf("\n");
}

static void greedy(llama_model * model, const char * path, int n) {
    const tokens_t     prompt = tokenize(model, path, true);
    const continuation answer(model, prompt, n);
    print(prompt);
    print(answer.greedy);
    const size_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n; i++) {
        const auto row = answer.rows.begin() + (prompt.size() - 1 + i) * n_vocab;
        std::vector<float> best(2);
        std::partial_sort_copy(row, row + n_vocab, best.begin(), best.end(), std::greater<float>());
        printf(i == 0 ? "%.6f" : " %.6f", best[0] - best[1]);
    }
    printf("\n");
    fflush(stdout);
}

static void nll(llama_model * model, const char * path, size_t window) {
    const llama_vocab * vocab  = llama_model_get_vocab(model);
    const tokens_t      tokens = tokenize(model, path, false);
    // As `gust perplexity` does it.
    const bool   has_bos = llama_vocab_get_add_bos(vocab);
    const size_t room    = window - has_bos;
    const size_t n_vocab = llama_vocab_n_tokens(vocab);
    double sum    = 0;
    size_t scored = 0;
    for (size_t start = 0; start < tokens.size(); start += room) {
        tokens_t part;
        if (has_bos) {
            part.push_back(llama_vocab_bos(vocab));
        }
        const size_t end = std::min(start + room, tokens.size());
        part.insert(part.end(), tokens.begin() + start, tokens.begin() + end);
        const std::vector<float> logits = sequence(model, part.size()).append(part);
        for (size_t i = 0; i + 1 < part.size(); i++) {
            const float * row     = &logits[i * n_vocab];
            const float   largest = *std::max_element(row, row + n_vocab);
            double        total   = 0;
            for (size_t v = 0; v < n_vocab; v++) {
                total += std::exp(double(row[v]) - largest);
            }
            sum += std::log(total) + largest - row[part[i + 1]];
            scored++;
        }
    }
    printf("%zu %.9f\n", scored, sum / scored);
    print(tokens);
}

static int quantize(const char * path, const char * type_name, const char * out, const char * exact) {
    int number = 0;
    while (number < GGML_TYPE_COUNT && strcmp(ggml_type_name(ggml_type(number)), type_name) != 0) {
        number++;
    }
    if (number == GGML_TYPE_COUNT) {
        fprintf(stderr, "error: no type is called %s\n", type_name);
        return 5;
    }
    const ggml_type type = ggml_type(number);
    ggml_context * tensors = nullptr;
    gguf_context * from    = gguf_init_from_file(path, { false, &tensors });
    if (!from) {
        return 1;
    }
    gguf_context * to[2] = { gguf_init_empty(), gguf_init_empty() };
    for (gguf_context * file : to) {
        gguf_set_kv(file, from);
    }
    std::vector<std::vector<char>>  blocks;
    std::vector<std::vector<float>> numbers;
    for (int64_t i = 0; i < gguf_get_n_tensors(from); i++) {
        const char *  name   = gguf_get_tensor_name(from, i);
        ggml_tensor * tensor = ggml_get_tensor(tensors, name);
        for (gguf_context * file : to) {
            gguf_add_tensor(file, tensor);
        }
        const int64_t n_cols = tensor->ne[0];
        const int64_t n_rows = ggml_nrows(tensor);
        if (n_rows < 2 || n_cols % ggml_blck_size(type) != 0) {
            continue;
        }
        // All columns are of the same importance.
        const std::vector<float> importance(n_cols, 1.0f);
        blocks.emplace_back(ggml_row_size(type, n_cols) * n_rows);
        const float * weights = (const float *) tensor->data;
        ggml_quantize_chunk(type, weights, blocks.back().data(), 0, n_rows, n_cols, importance.data());
        numbers.emplace_back(n_cols * n_rows);
        ggml_get_type_traits(type)->to_float(blocks.back().data(), numbers.back().data(), n_cols * n_rows);
        gguf_set_tensor_type(to[0], name, type);
        gguf_set_tensor_data(to[0], name, blocks.back().data());
        gguf_set_tensor_data(to[1], name, numbers.back().data());
    }
    const bool is_written = gguf_write_to_file(to[0], out, false) && gguf_write_to_file(to[1], exact, false);
    return is_written ? 0 : 4;
}

// Writes the tokens of texts.
static int tokens(const char * path, const char * texts, const char * out) {
    auto params       = llama_model_default_params();
    params.vocab_only = true;
    llama_model * model = llama_model_load_from_file(path, params);
    if (!model) {
        return 1;
    }
    const llama_vocab * vocab = llama_model_get_vocab(model);
    std::ifstream       in(texts, std::ios::binary);
    std::ofstream       written(out, std::ios::binary);
    uint32_t            length;
    std::string         text;
    tokens_t            ids;
    while (in.read((char *) &length, sizeof(length))) {
        text.resize(length);
        in.read(text.data(), length);
        ids.resize(length + 16);
        const int32_t n = llama_tokenize(vocab, text.data(), length, ids.data(), ids.size(), false, false);
        if (n < 0) {
            return 2;
        }
        written.write((const char *) &n, sizeof(n));
        written.write((const char *) ids.data(), n * sizeof(llama_token));
    }
    return written.good() ? 0 : 3;
}

int main(int argc, char ** argv) {
    llama_backend_init();
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level >= GGML_LOG_LEVEL_ERROR) {
                fputs(text, stderr);
            }
        },
        nullptr);
    std::vector<const char *> files;
    while (argc > 3 && strcmp(argv[1], "--lora") == 0) {
        files.push_back(argv[2]);
        scales.push_back(strtof(argv[3], nullptr));
        argv += 3;
        argc -= 3;
    }
    if (argc == 6 && strcmp(argv[2], "--quantize") == 0) {
        return quantize(argv[1], argv[3], argv[4], argv[5]);
    }
    if (argc == 5 && strcmp(argv[2], "--tokens") == 0) {
        return tokens(argv[1], argv[3], argv[4]);
    }
    auto params         = llama_model_default_params();
    params.n_gpu_layers = 0;
    llama_model * model = llama_model_load_from_file(argv[1], params);
    if (!model) {
        return 1;
    }
    for (const char * file : files) {
        adapters.push_back(llama_adapter_lora_init(model, file));
        if (!adapters.back()) {
            return 8;
        }
    }
    if (argc == 5 && strcmp(argv[2], "--nll") == 0) {
        nll(model, argv[3], atoi(argv[4]));
        return 0;
    }
    if (argc > 4 && strcmp(argv[2], "--greedy") == 0) {
        for (int i = 4; i < argc; i++) {
            greedy(model, argv[i], atoi(argv[3]));
        }
        return 0;
    }
    ranks                   = argc > 4 && strcmp(argv[2], "--rank") == 0;
    const bool is_embedding = ranks || (argc > 4 && strcmp(argv[2], "--embed") == 0);
    tokens_t prompt;
    for (int i = 4; i < argc; i++) {
        prompt.push_back(atoi(argv[i]));
    }
    if (is_embedding) {
        return write(argv[3], embed(model, prompt));
    }
    const continuation answer(model, prompt, atoi(argv[3]));
    print(answer.greedy);
    return write(argv[2], answer.rows);
}
